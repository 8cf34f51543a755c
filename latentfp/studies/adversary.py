"""An adversary who has the deployment's decoder: how small a change erases a mark, or writes another's.

Both move the pixels of a saved file by at most `radius` grey levels (augment/learned.py) along gradients
through all iterations of the decoder. *Erase*: away from what the decoder reads, without knowing the code.
*Forge*: towards the code of another user, which the adversary must know. The moved files are saved and judged
by the decoder alone, by a descent from its reading, which the adversary did not look at, and by the default
method.
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
from latentfp.attribution.decoder import TrainedDecoder
from latentfp.attribution.descent import Subject
from latentfp.attribution.estimate import Answer
from latentfp.attribution.ranking import among
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

ERASE, FORGE = "erase", "forge"
METHODS = (Method.DECODER, Method.REFINE, Method.AUTO)
LEVEL = 2 / 255  # one grey level, in [-1, 1]
Codes = Bool[np.ndarray, "n k"]
Book = Bool[np.ndarray, "users k"]
Reader = Callable[[Images], Float[Array, "b k"]]


class Settings(NamedTuple):
    """Files of a cell, radii in grey levels, steps of the ascent; names among `users` at `alpha`.

    Every file has an owner and a victim of its own among the users.
    """

    deployment: str
    images: int
    radii: Sequence[float]
    steps: int
    users: int
    alpha: float


def measure(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """The length of a code, and `rows` by aim and radius.

    ValueError for a deployment without a decoder, or whose code repeats its bits, or too few users.
    """
    context = open_context(settings.deployment, seed=experiment.seed)
    if context.decoder is None or context.opened.manifest.repeats != 1:
        raise ValueError(f"{settings.deployment}: expected a decoder, and a code without repeated bits")
    if settings.users < 2 * settings.images:
        raise ValueError(f"{settings}: expected at least {2 * settings.images} users, two for every file")
    logits, book = _reader(context.subject, context.decoder), _book(context, settings)
    files = attacked_files(context, book[: settings.images], NOTHING)
    cells = [{"aim": aim, "radius": radius} for aim, radius in product((ERASE, FORGE), settings.radii)]
    numbers = experiment.measured(
        cells,
        lambda cell: _judged(context, logits, settings, files, book, cell),
        belongs={**identity(context), **settings._replace(deployment="", radii=())._asdict()},
    )
    return {"bits": context.subject.bits, "rows": numbers}


def _book(context: Context, settings: Settings) -> Book:
    """The codes of all users: first the owners of the files, then their victims, then the rest."""
    counts = (settings.images, settings.images, settings.users - 2 * settings.images)
    randoms = (np.random.default_rng([context.seed, i]) for i in range(len(counts)))
    parts = [it.integers(2, size=(n, context.subject.bits)) for it, n in zip(randoms, counts, strict=True)]
    return np.concatenate(parts).astype(bool)


def _judged(
    context: Context, logits: Reader, settings: Settings, files: Rows, book: Book, cell: dict[str, Any]
) -> Numbers:
    """What the methods say of the moved files: of their owners, and of those whose mark was forged."""
    aim, radius = cell["aim"], cell["radius"]
    victims = book[settings.images : 2 * settings.images]
    target = victims if aim == FORGE else np.asarray(jax.jit(logits)(to_float(files))) <= 0
    moved = _moved(logits, files, target, radius, settings.steps, context.seed)
    moved = through_files(moved, NOTHING, seed=context.seed)
    change = np.abs(moved.astype(int) - files)
    found = {**cell, "largest_change": int(change.max())}
    for method in METHODS:
        label = f"{aim} {radius:g}, {method.value}"
        rule = rule_of(context, method, among(book), alpha=settings.alpha)
        answer = answers(context, method, to_float(moved), label=label, decided=rule.suffices)
        found[method.value] = _said(answer, rule, book, settings)
    return found


def _reader(subject: Subject, trained: TrainedDecoder) -> Reader:
    """The decoder's logits after all of its iterations."""

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
