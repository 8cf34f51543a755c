"""Users who collude, and who of them is traced: their images averaged or mixed, or their copies.

A coalition is k users with fair random codes who make the same content; `latents` is what the mean of their
copies' weights makes, the image of the mean code, and the other collusions act on pixels
(augment/collusion.py), all saved as files. Its files are read by the decoder and a descent, and traced among
`users` registered ones: the first one alone, and all together (attribution/tracing.py). The registry is drawn
`registries` times around the same colluders, for innocents have nothing to do with what was read; a trial is
one reading and one registry.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, UInt8

from latentfp import rng
from latentfp.attribution import ranking, tracing
from latentfp.augment.attacks import NOTHING
from latentfp.augment.collusion import COLLUSIONS
from latentfp.choices import Method
from latentfp.deployment.copies import draw_latents, mark_latents
from latentfp.fingerprint.embed import embed_levels
from latentfp.pixels import to_float, to_pixels
from latentfp.studies.context import Context, answers, identity, open_context, through_files
from latentfp.studies.experiment import Experiment, Numbers
from latentfp.studies.statistics import binomial_interval

LATENTS = "latents"


class Settings(NamedTuple):
    """Sizes of coalitions, how they collude, how many coalitions of how many files, and among whom."""

    deployment: str
    colluders: Sequence[int]
    collusions: Sequence[str]
    coalitions: int
    files: int
    users: int
    registries: int
    alphas: Sequence[float]


def measure(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """The length of a code, and `rows`: for every cell one with one file of a coalition, and one with all."""
    context = open_context(settings.deployment, seed=experiment.seed)
    each = {"coalitions": settings.coalitions, "files": settings.files}
    cells = [
        {"colluders": k, "collusion": collusion, **each}
        for k, collusion in product(settings.colluders, settings.collusions)
    ]
    numbers = experiment.measured(cells, lambda cell: _read(context, **cell), belongs=identity(context))
    rows = []
    for cell, found in zip(cells, numbers, strict=True):
        levels = np.asarray(found["levels"], np.float32)
        codes = codes_of(context, cell["colluders"], settings.coalitions)
        for files in sorted({1, settings.files}):
            named = {"colluders": cell["colluders"], "collusion": cell["collusion"], "files": files}
            rows.append(named | judged(levels[:, :files], codes, settings, seed=context.seed))
    return {"bits": context.subject.bits, "rows": rows}


def codes_of(context: Context, k: int, coalitions: int) -> Bool[np.ndarray, "c k bits"]:
    """Fair random codes of every coalition's users."""
    random = np.random.default_rng([context.seed, k])
    return random.integers(2, size=(coalitions, k, context.subject.bits)).astype(bool)


def _read(context: Context, colluders: int, collusion: str, coalitions: int, files: int) -> Numbers:
    """The levels of the files of so many coalitions of one size that collude in one way, to a thousandth."""
    codes = codes_of(context, colluders, coalitions)
    images = np.concatenate([_files(context, one, collusion, files, i) for i, one in enumerate(codes)])
    label = f"{colluders} colluders, {collusion}"
    found = answers(context, Method.REFINE, to_float(images), label=label).estimate
    levels = tracing.levels_of(found).reshape(coalitions, files, -1)
    return {"levels": np.round(levels.astype(float), 3).tolist()}


def _files(
    context: Context, codes: Bool[np.ndarray, "k bits"], collusion: str, files: int, number: int
) -> UInt8[np.ndarray, "n h w 3"]:
    """Files of one coalition, saved and read again."""
    subject, where = context.subject, rng.stream(rng.root(context.seed), "coalition", number)
    contents = draw_latents(subject.generator, subject.params, rng.stream(where, "contents"), count=files)
    if collusion == LATENTS:
        made = _of_mean_code(context, contents, codes)
    else:
        copies = [
            to_float(mark_latents(subject, contents, np.tile(code, (files, 1))).marked) for code in codes
        ]
        keys = jax.vmap(lambda i: rng.stream(where, "collusion", i))(jnp.arange(files))
        collude = jax.jit(jax.vmap(COLLUSIONS[collusion], in_axes=(0, 1)))
        made = np.asarray(to_pixels(collude(keys, jnp.stack(copies))))
    return through_files(made, NOTHING, seed=context.seed)


def _of_mean_code(
    context: Context, contents: Float[np.ndarray, "n d"], codes: Bool[np.ndarray, "k bits"]
) -> UInt8[np.ndarray, "n h w 3"]:
    """What the average of the colluders' copies makes of these contents."""
    subject = context.subject
    level = jnp.asarray(codes.mean(axis=0), jnp.float32) - subject.coding.offset
    embed = jax.vmap(lambda w0: embed_levels(subject.space, w0, level, sigma=subject.sigma))
    images = jax.jit(subject.generator.synthesize)(subject.params, embed(jnp.asarray(contents)))
    return np.asarray(to_pixels(images))


def judged(
    levels: Float[np.ndarray, "c files bits"],
    codes: Bool[np.ndarray, "c k bits"],
    settings: Settings,
    *,
    seed: int,
) -> dict[str, Any]:
    """Guilty and innocent accused, at every alpha, over all coalitions and registries."""
    coalitions, k, bits = codes.shape
    soft = np.concatenate([tracing.weights(each) for each in levels])
    guilty = np.zeros((len(settings.alphas), coalitions, settings.registries), int)
    innocent = np.zeros_like(guilty)
    for registry in range(settings.registries):
        random = np.random.default_rng([seed, 1, registry])
        others = random.integers(2, size=(settings.users - k, bits)).astype(bool)
        for c in range(coalitions):
            registered = ranking.among(np.concatenate([codes[c], others]))
            (ranked,) = tracing.suspects(soft[c : c + 1], registered)
            for a, alpha in enumerate(settings.alphas):
                accused = [one.user for one in tracing.traced(ranked, alpha=alpha)]
                guilty[a, c, registry] = sum(user < k for user in accused)
                innocent[a, c, registry] = sum(user >= k for user in accused)
    return {
        "trials": coalitions * settings.registries,
        "promised": {
            f"{alpha:g}": {
                "traced": int((guilty[a, :, 0] > 0).sum()),
                "interval": list(binomial_interval(int((guilty[a, :, 0] > 0).sum()), coalitions)),
                "mean_traced": float(guilty[a].mean()),
                "trials_with_innocent": int((innocent[a] > 0).sum()),
            }
            for a, alpha in enumerate(settings.alphas)
        },
    }
