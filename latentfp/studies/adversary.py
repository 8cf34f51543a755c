"""An adversary who has the deployment's decoder: how small a change erases a mark, or writes another's.

Both move the pixels of a saved file by at most `radius` grey levels (augment/adversarial.py) along gradients
through all looks of the decoder. *Erase*: away from what the decoder reads, without knowing the code.
*Forge*: towards the code of another user, which the adversary must know. The moved files are saved and read
by the decoder, and by a descent from its reading, which the adversary did not look at.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from latentfp import rng
from latentfp.attribution import decoder as decoding
from latentfp.attribution.decoder import TrainedDecoder
from latentfp.attribution.ends import Subject
from latentfp.attribution.evidence import chance, soften
from latentfp.attribution.verdict import family_wise
from latentfp.augment.adversarial import ascend
from latentfp.augment.attacks import Attack
from latentfp.augment.steps import nothing
from latentfp.deployment.methods import Budget, Method
from latentfp.pixels import to_float, to_pixels
from latentfp.runtime.progress import track
from latentfp.studies.intervals import binomial_interval
from latentfp.studies.journal import Journal, Numbers
from latentfp.studies.marked import Rows, marked_images, through_files
from latentfp.studies.scene import Scene, answers, identity, open_scene
from latentfp.types import Image, Images, Key, Scalar

ERASE, FORGE = "erase", "forge"
METHODS = (Method.DECODER, Method.REFINE)
SAVED = Attack("none", nothing())
LEVEL = 2 / 255  # one grey level, in [-1, 1]
Codes = Bool[np.ndarray, "n k"]
Reader = Callable[[Images], Float[Array, "b k"]]


class Plan(NamedTuple):
    """Files of a cell, radii in grey levels, steps of the ascent; names among `users` at `alpha`."""

    images: int
    radii: Sequence[float]
    steps: int
    users: int
    alpha: float


def run(*, deployment: str, plan: Mapping[str, Any], seed: int, workdir: Path) -> dict[str, Any]:
    """Measure what `workdir` does not hold yet, and write adversary.json.

    ValueError for a deployment without a decoder, or whose code repeats its bits.
    """
    scene, chosen = open_scene(deployment, seed=seed), Plan(**plan)
    if scene.decoder is None or scene.opened.manifest.repeats != 1:
        raise ValueError(f"{deployment}: expected a decoder, and a code without repeated bits")
    logits = _reader(scene.subject, scene.decoder)
    workdir.mkdir(parents=True, exist_ok=True)
    journal = Journal(workdir / "cells.jsonl")
    own, other = (_codes(scene, chosen.images, name) for name in (0, 1))
    files = through_files(marked_images(scene.subject, own, seed=seed), SAVED, seed=seed)
    rows = []
    for aim, radius in track([*product((ERASE, FORGE), chosen.radii)], "adversaries"):
        make = partial(_cell, scene, logits, chosen, files, own, other, aim, radius)
        setting = [identity(scene), aim, radius, *chosen._replace(radii=())]
        rows.append(journal.kept(setting, make))
    result = {**identity(scene), **plan, "bits": scene.subject.bits, "rows": rows}
    (workdir / "adversary.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _codes(scene: Scene, n: int, name: int) -> Codes:
    random = np.random.default_rng([scene.seed, name])
    return random.integers(2, size=(n, scene.subject.bits)).astype(bool)


def _cell(
    scene: Scene, logits: Reader, plan: Plan, files: Rows, own: Codes, other: Codes, aim: str, radius: float
) -> Numbers:
    """What the methods read of the moved files: of their own users, and of those whose mark was forged."""
    target = other if aim == FORGE else np.asarray(jax.jit(logits)(to_float(files))) <= 0
    moved = _moved(logits, files, target, radius, plan, scene.seed)
    moved = through_files(moved, SAVED, seed=scene.seed)
    change = np.abs(moved.astype(int) - files)
    found = {"aim": aim, "radius": radius, "largest_change": int(change.max())}
    for method in METHODS:
        label = f"{aim} {radius:g}, {method.value}"
        answer = answers(scene, method, to_float(moved), label=label, budget=Budget())
        soft = soften(np.asarray(answer.estimate.logits))
        whose = {"own": own, "other": other}
        found[method.value] = {name: _share(soft, codes, plan) for name, codes in whose.items()}
    return found


def _reader(subject: Subject, trained: TrainedDecoder) -> Reader:
    """The decoder's logits after all of its looks."""

    def logits(images: Images) -> Float[Array, "b k"]:
        given = (trained.decoder, trained.weights, subject.generator, subject.params, subject.whitened)
        return decoding.read(*given, images, count=trained.looks)[0].logits

    return logits


def _moved(logits: Reader, files: Rows, target: Codes, radius: float, plan: Plan, seed: int) -> Rows:
    """The files, moved to look to the decoder as if they bore the targets."""

    def move(key: Key, image: Image, code: Bool[Array, " k"]) -> Image:
        def gain(moved: Image) -> Scalar:
            losses = optax.sigmoid_binary_cross_entropy(logits(moved[None])[0], code.astype(jnp.float32))
            return -jnp.mean(losses)

        return ascend(key, image, gain=gain, radius=radius * LEVEL, steps=plan.steps)

    keys = jax.vmap(partial(rng.stream, rng.root(seed), "adversary"))(jnp.arange(len(files)))
    return np.asarray(to_pixels(jax.jit(jax.vmap(move))(keys, to_float(files), target)))


def _share(soft: np.ndarray, codes: Codes, plan: Plan) -> dict[str, Any]:
    """Of the files: the share of bits of these codes, and how many name their users."""
    scores = (soft.astype(int) * (2 * codes.astype(int) - 1)).sum(axis=1)
    named = int((family_wise(chance(soft, scores), users=plan.users) <= plan.alpha).sum())
    return {
        "bits": float(((soft > 0) == codes).mean()),
        "named": named,
        "interval": list(binomial_interval(named, len(codes))),
    }
