"""Adversaries who have the deployment's decoder, or the generator's weights: how small a change of a saved
file erases a mark, or writes another's.

decoder   moves pixels along gradients through all iterations of the decoder (augment/learned.py), away from
          what it reads (*erase*, without knowing the code) or towards the code of another user (*forge*,
          which the adversary must know)
weights   explains the file by a descent, as the method does, and adds the difference between the generator's
          images with other levels of the code and with those that were found: the difference itself where
          that is within the limit, else GAIN times, limited pixel by pixel. Of all changes within a limit its
          sign times the limit raises the likelihood of the other image over the found one the most, and for
          a large gain it is that: so it is the adversary of the descent. *Erase*: levels of 0, between those
          of all codes. *Forge*: the levels of another user's code, for which the adversary must know it, and
          the axes. *Transplant*: the levels that a descent finds in one image of the other user. Neither this
          nor erasing needs to know which axis is which bit: a secret does not hinder them

No pixel moves by more than `radius` grey levels. The moved files are saved and judged by the decoder alone,
by a descent from its reading, and by the default method.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from latentfp import rng
from latentfp.attribution import decoder as decoding
from latentfp.attribution.cascade import DecisionRule
from latentfp.attribution.estimate import Answer
from latentfp.attribution.ranking import among
from latentfp.attribution.whitening import render
from latentfp.augment.attacks import NOTHING
from latentfp.augment.learned import ascend
from latentfp.choices import Method
from latentfp.pixels import to_float, to_pixels
from latentfp.studies.context import (
    Context,
    Rows,
    answers,
    attacked_files,
    identity,
    open_context,
    rule_of,
    through_files,
)
from latentfp.studies.experiment import Experiment, Numbers
from latentfp.studies.statistics import binomial_interval
from latentfp.types import Image, Images, Key, Scalar

DECODER, WEIGHTS = "decoder", "weights"
ERASE, FORGE, TRANSPLANT = "erase", "forge", "transplant"
AIMS = {DECODER: (ERASE, FORGE), WEIGHTS: (ERASE, FORGE, TRANSPLANT)}
METHODS = (Method.DECODER, Method.REFINE, Method.AUTO)
GAIN = 4.0  # of a difference that is larger than may be changed
LEVEL = 2 / 255  # one grey level, in [-1, 1]
Codes = Bool[np.ndarray, "n k"]
Book = Bool[np.ndarray, "users k"]
Reader = Callable[[Images], Float[Array, "b k"]]
Mover = Callable[[Rows, str, float], Rows]  # of files, for an aim, within a radius


class Settings(NamedTuple):
    """What the adversary `holds`, files of a cell, radii in grey levels, steps of the ascent; names among
    `users` at `alpha`.

    Every file has an owner and a victim of its own among the users.
    """

    deployment: str
    holds: Sequence[str]
    images: int
    radii: Sequence[float]
    steps: int
    users: int
    alpha: float


def measure(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """The length of a code, and `rows` by what the adversary holds, aim and radius.

    Nobody forges where a secret turned the axes. ValueError for a decoder that is not there, a code that
    repeats its bits, too few users, or an unknown adversary.
    """
    context = open_context(settings.deployment, seed=experiment.seed)
    if context.opened.manifest.repeats != 1:
        raise ValueError(f"{settings.deployment}: expected a code without repeated bits")
    if settings.users < 2 * settings.images:
        raise ValueError(f"{settings}: expected at least {2 * settings.images} users, two for every file")
    if unknown := {*settings.holds} - {*AIMS}:
        raise ValueError(f"adversaries {sorted(unknown)}: expected some of {', '.join(AIMS)}")
    book = _book(context, settings)
    movers: dict[str, Callable[..., Mover]] = {DECODER: _by_decoder, WEIGHTS: _by_weights}
    secret = context.opened.manifest.rotation != ""
    rows: list[Numbers] = []
    for holds in settings.holds:
        aims = [aim for aim in AIMS[holds] if not (secret and aim == FORGE)]
        cells = [{"holds": holds, "aim": aim, "radius": r} for aim, r in product(aims, settings.radii)]
        move = movers[holds](context, settings, book)
        belongs = settings._replace(deployment="", holds=(), radii=())._asdict()
        rows += experiment.measured(
            cells, partial(_judged, context, settings, book, move), belongs={**identity(context), **belongs}
        )
    return {"bits": context.subject.bits, "secret": secret, "rows": rows}


def _book(context: Context, settings: Settings) -> Book:
    """The codes of all users: first the owners of the files, then their victims, then the rest."""
    counts = (settings.images, settings.images, settings.users - 2 * settings.images)
    randoms = (np.random.default_rng([context.seed, i]) for i in range(len(counts)))
    parts = [it.integers(2, size=(n, context.subject.bits)) for it, n in zip(randoms, counts, strict=True)]
    return np.concatenate(parts).astype(bool)


def _judged(context: Context, settings: Settings, book: Book, move: Mover, cell: dict[str, Any]) -> Numbers:
    """What the methods say of the moved files: of their owners, and of those whose mark was forged."""
    files = _files(context, settings, book, owners=True)
    moved = through_files(move(files, cell["aim"], cell["radius"]), NOTHING, seed=context.seed)
    change = np.abs(moved.astype(int) - files)
    found = {**cell, "largest_change": int(change.max())}
    for method in METHODS if context.decoder else (Method.AUTO,):
        label = f"{cell['aim']} {cell['radius']:g}, {method.value}"
        rule = rule_of(context, method, among(book), alpha=settings.alpha)
        answer = answers(context, method, to_float(moved), label=label, decided=rule.suffices)
        found[method.value] = _said(answer, rule, book, settings)
    return found


def _files(context: Context, settings: Settings, book: Book, *, owners: bool) -> Rows:
    """A file of each owner, or another one of each victim."""
    first = 0 if owners else settings.images
    return attacked_files(context, book[first : first + settings.images], NOTHING, first=first)


def _by_decoder(context: Context, settings: Settings, book: Book) -> Mover:
    logits = _reader(context)

    def move(files: Rows, aim: str, radius: float) -> Rows:
        victims = book[settings.images : 2 * settings.images]
        target = victims if aim == FORGE else np.asarray(jax.jit(logits)(to_float(files))) <= 0
        return _moved(logits, files, target, radius, settings.steps, context.seed)

    return move


def _by_weights(context: Context, settings: Settings, book: Book) -> Mover:
    subject = context.subject

    def thetas(files: Rows) -> Float[np.ndarray, "n d"]:
        found = answers(context, Method.REFINE, to_float(files), label="the adversary's descents").estimate
        content = np.asarray(found.content) / subject.content_stds
        return np.concatenate([content, found.levels], axis=1).astype(np.float32)

    def rendered(theta: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n h w 3"]:
        return np.asarray(render(subject.generator, subject.params, subject.whitened, jnp.asarray(theta)))

    def levels(aim: str) -> Float[np.ndarray, "n k"]:
        if aim == TRANSPLANT:
            return thetas(_files(context, settings, book, owners=False))[:, -subject.bits :]
        if aim == FORGE:
            return 2 * book[settings.images : 2 * settings.images].astype(np.float32) - 1
        return np.zeros((settings.images, subject.bits), np.float32)

    def move(files: Rows, aim: str, radius: float) -> Rows:
        own = thetas(files)
        other = np.concatenate([own[:, : -subject.bits], levels(aim)], axis=1)
        change = (rendered(other) - rendered(own)) / LEVEL
        gain = np.where(np.abs(change).max(axis=(1, 2, 3), keepdims=True) > radius, GAIN, 1.0)
        limited = np.clip(np.round(gain * change), -radius, radius)
        return np.clip(files + limited, 0, 255).astype(np.uint8)

    return move


def _reader(context: Context) -> Reader:
    """The decoder's logits after all of its iterations. ValueError where there is no decoder."""
    subject, trained = context.subject, context.decoder
    if trained is None:
        raise ValueError(f"{context.opened.path} has no decoder that anybody could hold")

    def logits(images: Images) -> Float[Array, "b k"]:
        given = (trained.decoder, trained.weights, subject.generator, subject.params, subject.whitened)
        return decoding.read(*given, images, count=trained.iterations)[0].logits

    return logits


def _moved(logits: Reader, files: Rows, target: Codes, radius: float, steps: int, seed: int) -> Rows:
    """The files, moved to look to the decoder as if they bore the targets."""

    def move(key: Key, image: Image, code: Bool[Array, " k"]) -> Image:
        def gain(moved: Image) -> Scalar:
            losses = optax.sigmoid_binary_cross_entropy(logits(moved[None])[0], code.astype(jnp.float32))
            return -jnp.mean(losses)

        return ascend(key, image, gain=gain, radius=radius * LEVEL, steps=steps)

    keys = jax.vmap(partial(rng.stream, rng.root(seed), "adversary"))(jnp.arange(len(files)))
    return np.asarray(to_pixels(jax.jit(jax.vmap(move))(keys, to_float(files), target)))


def _said(answer: Answer, rule: DecisionRule, book: Book, settings: Settings) -> dict[str, Any]:
    """Of owners and victims: the share of their bits, and how many are named; how many others are."""
    n, bits = settings.images, np.asarray(answer.estimate.code)
    users = [it.verdict.user for it in rule.judge(answer)]
    named = np.array([-1 if user is None else user for user in users])
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
