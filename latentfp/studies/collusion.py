"""Users who collude, and who of them is traced: their images averaged or mixed, or their copies.

A coalition is k users with fair random codes who make the same content; `latents` is what the mean of their
copies' weights makes, the image of the mean code, and the other collusions act on pixels
(augment/collusion.py), all saved as files. Its files are read by the decoder and a descent, and traced among
`users` registered ones: the first one alone, and all together (attribution/tracing.py). The registry is drawn
`registries` times around the same colluders, for innocents have nothing to do with what was read; a trial is
one reading and one registry.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, UInt8

from latentfp import rng
from latentfp.attribution import tracing
from latentfp.augment.attacks import Attack, nothing
from latentfp.augment.collusion import COLLUSIONS
from latentfp.choices import Method
from latentfp.deployment.copies import draw_latents, mark_latents
from latentfp.deployment.methods import Budget
from latentfp.fingerprint.codes import pack
from latentfp.fingerprint.embed import embed_levels
from latentfp.pixels import to_float, to_pixels
from latentfp.runtime.progress import track
from latentfp.studies.intervals import binomial_interval
from latentfp.studies.journal import Journal
from latentfp.studies.marked import through_files
from latentfp.studies.scene import Scene, answers, identity, open_scene

LATENTS = "latents"


class Plan(NamedTuple):
    """Sizes of coalitions, how they collude, how many coalitions of how many files, and among whom."""

    colluders: Sequence[int]
    collusions: Sequence[str]
    coalitions: int
    files: int
    users: int
    registries: int
    alphas: Sequence[float]


def run(*, deployment: str, plan: Mapping[str, Any], seed: int, workdir: Path) -> dict[str, Any]:
    """Measure what `workdir` does not hold yet, and write collusion.json."""
    scene, chosen = open_scene(deployment, seed=seed), Plan(**plan)
    workdir.mkdir(parents=True, exist_ok=True)
    journal = Journal(workdir / "levels.jsonl")
    rows = []
    for k, collusion in track([*product(chosen.colluders, chosen.collusions)], "coalitions"):
        setting = [identity(scene), k, collusion, chosen.coalitions, chosen.files]
        measure = partial(_read, scene, k, collusion, chosen)
        levels = np.asarray(journal.kept(setting, measure)["levels"], np.float32)
        for files in sorted({1, chosen.files}):
            rows.append(
                {"colluders": k, "collusion": collusion, "files": files}
                | judged(levels[:, :files], codes_of(scene, k, chosen.coalitions), chosen, seed=seed)
            )
    result = {**identity(scene), **plan, "bits": scene.subject.bits, "rows": rows}
    (workdir / "collusion.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def codes_of(scene: Scene, k: int, coalitions: int) -> Bool[np.ndarray, "c k bits"]:
    """Fair random codes of every coalition's users."""
    random = np.random.default_rng([scene.seed, k])
    return random.integers(2, size=(coalitions, k, scene.subject.bits)).astype(bool)


def _read(scene: Scene, k: int, collusion: str, plan: Plan) -> dict[str, Any]:
    """The levels of every coalition's files, rounded to a thousandth."""
    codes = codes_of(scene, k, plan.coalitions)
    images = np.concatenate([_files(scene, one, collusion, plan.files, i) for i, one in enumerate(codes)])
    label = f"{k} colluders, {collusion}"
    found = answers(scene, Method.REFINE, to_float(images), label=label, budget=Budget()).estimate
    levels = tracing.levels_of(found).reshape(plan.coalitions, plan.files, -1)
    return {"levels": np.round(levels.astype(float), 3).tolist()}


def _files(
    scene: Scene, codes: Bool[np.ndarray, "k bits"], collusion: str, files: int, number: int
) -> UInt8[np.ndarray, "n h w 3"]:
    """Files of one coalition, saved and read again."""
    subject, where = scene.subject, rng.stream(rng.root(scene.seed), "coalition", number)
    contents = draw_latents(subject.generator, subject.params, rng.stream(where, "contents"), count=files)
    if collusion == LATENTS:
        made = _of_mean_code(scene, contents, codes)
    else:
        copies = [
            to_float(
                mark_latents(
                    subject.generator,
                    subject.params,
                    subject.space,
                    contents,
                    np.repeat(code[None], files, axis=0),
                    sigma=subject.sigma,
                    coding=subject.coding,
                ).marked
            )
            for code in codes
        ]
        keys = jax.vmap(lambda i: rng.stream(where, "collusion", i))(jnp.arange(files))
        collude = jax.jit(jax.vmap(COLLUSIONS[collusion], in_axes=(0, 1)))
        made = np.asarray(to_pixels(collude(keys, jnp.stack(copies))))
    return through_files(made, Attack("none", nothing()), seed=scene.seed)


def _of_mean_code(
    scene: Scene, contents: Float[np.ndarray, "n d"], codes: Bool[np.ndarray, "k bits"]
) -> UInt8[np.ndarray, "n h w 3"]:
    """What the average of the colluders' copies makes of these contents."""
    subject = scene.subject
    level = jnp.asarray(codes.mean(axis=0), jnp.float32) - subject.coding.offset
    embed = jax.vmap(lambda w0: embed_levels(subject.space, w0, level, sigma=subject.sigma))
    images = jax.jit(subject.generator.synthesize)(subject.params, embed(jnp.asarray(contents)))
    return np.asarray(to_pixels(images))


def judged(
    levels: Float[np.ndarray, "c files bits"], codes: Bool[np.ndarray, "c k bits"], plan: Plan, *, seed: int
) -> dict[str, Any]:
    """Guilty and innocent accused, at every alpha, over all coalitions and registries."""
    coalitions, k, bits = codes.shape
    soft = np.concatenate([tracing.weights(each) for each in levels])
    guilty = np.zeros((len(plan.alphas), coalitions, plan.registries), int)
    innocent = np.zeros_like(guilty)
    for registry in range(plan.registries):
        random = np.random.default_rng([seed, 1, registry])
        others = random.integers(2, size=(plan.users - k, bits)).astype(bool)
        for c in range(coalitions):
            book = pack(np.concatenate([codes[c], others]))
            (ranked,) = tracing.suspects(soft[c : c + 1], book)
            for a, alpha in enumerate(plan.alphas):
                accused = [one.user for one in tracing.traced(ranked, alpha=alpha)]
                guilty[a, c, registry] = sum(user < k for user in accused)
                innocent[a, c, registry] = sum(user >= k for user in accused)
    return {
        "trials": coalitions * plan.registries,
        "promised": {
            f"{alpha:g}": {
                "traced": int((guilty[a, :, 0] > 0).sum()),
                "interval": list(binomial_interval(int((guilty[a, :, 0] > 0).sum()), coalitions)),
                "mean_traced": float(guilty[a].mean()),
                "trials_with_innocent": int((innocent[a] > 0).sum()),
            }
            for a, alpha in enumerate(plan.alphas)
        },
    }
