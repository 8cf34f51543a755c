"""An adversary who has the deployment's decoder: how small a change erases a mark, or writes another's.

Both move the pixels of a saved file by at most `radius` grey levels (augment/learned.py) along gradients
through all looks of the decoder. *Erase*: away from what the decoder reads, without knowing the code.
*Forge*: towards the code of another user, which the adversary must know. The moved files are saved and judged
by the decoder alone, by a descent from its reading, which the adversary did not look at, and by the default
method.
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
from latentfp.attribution.estimate import Answer
from latentfp.attribution.ranking import among
from latentfp.attribution.verdict import Registered, judge
from latentfp.augment.attacks import Attack, nothing
from latentfp.augment.learned import ascend
from latentfp.choices import Method
from latentfp.deployment.inquiry import stage_by_stage, sufficient
from latentfp.deployment.methods import Budget
from latentfp.pixels import to_float, to_pixels
from latentfp.runtime.progress import track
from latentfp.studies.intervals import binomial_interval
from latentfp.studies.journal import Journal, Numbers
from latentfp.studies.marked import Rows, marked_images, through_files
from latentfp.studies.scene import Scene, answers, identity, open_scene
from latentfp.types import Image, Images, Key, Scalar

ERASE, FORGE = "erase", "forge"
METHODS = (Method.DECODER, Method.REFINE, Method.AUTO)
SAVED = Attack("none", nothing())
LEVEL = 2 / 255  # one grey level, in [-1, 1]
Codes = Bool[np.ndarray, "n k"]
Book = Bool[np.ndarray, "users k"]
Reader = Callable[[Images], Float[Array, "b k"]]


class Plan(NamedTuple):
    """Files of a cell, radii in grey levels, steps of the ascent; names among `users` at `alpha`.

    Every file has an owner and a victim of its own among the users.
    """

    images: int
    radii: Sequence[float]
    steps: int
    users: int
    alpha: float


def run(*, deployment: str, plan: Mapping[str, Any], seed: int, workdir: Path) -> dict[str, Any]:
    """Measure what `workdir` does not hold yet, and write adversary.json.

    ValueError for a deployment without a decoder, or whose code repeats its bits, or too few users.
    """
    scene, chosen = open_scene(deployment, seed=seed), Plan(**plan)
    if scene.decoder is None or scene.opened.manifest.repeats != 1:
        raise ValueError(f"{deployment}: expected a decoder, and a code without repeated bits")
    if chosen.users < 2 * chosen.images:
        raise ValueError(f"{chosen}: expected at least {2 * chosen.images} users, two for every file")
    logits = _reader(scene.subject, scene.decoder)
    workdir.mkdir(parents=True, exist_ok=True)
    journal = Journal(workdir / "cells.jsonl")
    book = _book(scene, chosen)
    own = book[: chosen.images]
    files = through_files(marked_images(scene.subject, own, seed=seed), SAVED, seed=seed)
    rows = []
    for aim, radius in track([*product((ERASE, FORGE), chosen.radii)], "adversaries"):
        make = partial(_cell, scene, logits, chosen, files, book, aim, radius)
        setting = [identity(scene), aim, radius, *chosen._replace(radii=())]
        rows.append(journal.kept(setting, make))
    result = {**identity(scene), **plan, "bits": scene.subject.bits, "rows": rows}
    (workdir / "adversary.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _book(scene: Scene, plan: Plan) -> Book:
    """The codes of all users: first the owners of the files, then their victims, then the rest."""
    counts = (plan.images, plan.images, plan.users - 2 * plan.images)
    randoms = (np.random.default_rng([scene.seed, i]) for i in range(len(counts)))
    parts = [it.integers(2, size=(n, scene.subject.bits)) for it, n in zip(randoms, counts, strict=True)]
    return np.concatenate(parts).astype(bool)


def _cell(
    scene: Scene, logits: Reader, plan: Plan, files: Rows, book: Book, aim: str, radius: float
) -> Numbers:
    """What the methods say of the moved files: of their owners, and of those whose mark was forged."""
    victims = book[plan.images : 2 * plan.images]
    target = victims if aim == FORGE else np.asarray(jax.jit(logits)(to_float(files))) <= 0
    moved = _moved(logits, files, target, radius, plan, scene.seed)
    moved = through_files(moved, SAVED, seed=scene.seed)
    change = np.abs(moved.astype(int) - files)
    found = {"aim": aim, "radius": radius, "largest_change": int(change.max())}
    for method in METHODS:
        label = f"{aim} {radius:g}, {method.value}"
        users = stage_by_stage(among(book), method, scene.subject, scene.decoder, Budget())
        decided = sufficient(users, alpha=plan.alpha)
        answer = answers(scene, method, to_float(moved), label=label, budget=Budget(), decided=decided)
        found[method.value] = _said(answer, users, book, plan)
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


def _said(answer: Answer, users: Registered, book: Book, plan: Plan) -> dict[str, Any]:
    """Of owners and victims: the share of their bits, and how many are named; how many others are."""
    n, bits = plan.images, np.asarray(answer.estimate.code)
    named = np.array(
        [-1 if it.user is None else it.user for it in judge(answer.estimate, users, alpha=plan.alpha)]
    )
    said: dict[str, Any] = {}
    for whose, first in (("own", 0), ("other", n)):
        count = int((named == np.arange(first, first + n)).sum())
        said[whose] = {
            "bits": float((bits == book[first : first + n]).mean()),
            "named": count,
            "interval": list(binomial_interval(count, n)),
        }
    counted = said["own"]["named"] + said["other"]["named"]
    return {**said, "others_named": int((named >= 0).sum()) - counted}
