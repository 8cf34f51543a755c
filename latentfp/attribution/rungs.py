"""The stages of attribution as rungs of the ladder.

    encoder      the generator's own encoder, where it comes with one
    decoder      a few looks of the network
    refine       a descent from the reading of the decoder or encoder
    multistart   descents from the mean and from samples of the prior
    reference    the paper's search

The descents assume the damage that is known, else the one that the decoder read.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from latentfp import rng
from latentfp.attribution import decoder as decoding
from latentfp.attribution import encoder as encoding
from latentfp.attribution import reference
from latentfp.attribution.decoder import Decoder
from latentfp.attribution.descent import power_of_two
from latentfp.attribution.ends import Harms, Rows, Subject, answered, better, blended, descended, ends_of
from latentfp.attribution.estimate import Answer, Estimate, Progress, Status, answer
from latentfp.attribution.ladder import Numbers, Rung
from latentfp.attribution.objective import Distance
from latentfp.attribution.refine import Settings
from latentfp.attribution.whitening import Thetas
from latentfp.augment import damage
from latentfp.choices import Stage
from latentfp.types import Count, Images, Key, Params

Harm = Float[np.ndarray, " m"]
BATCH = 64  # images that the decoder reads at once


def encoder_rung(subject: Subject, *, key: Key) -> Rung:
    """What the generator's encoder reads of every image."""
    generator, params, space = subject.generator, subject.params, subject.whitened

    def run(images: Rows, numbers: Numbers, below: Answer | None, progress: Progress) -> Answer:
        del numbers, below
        calibration = encoding.calibrate(generator, params, space, key, bits=subject.bits)
        see = partial(encoding.read, generator, params, space, calibration)
        found: encoding.Encoded = _in_batches(see, images, progress)
        content = found.thetas[:, : -subject.bits] * subject.space.content_stds[None]
        return _reading(Stage.ENCODER, content, found.logits, found.misfits, passes=1, looks=1)

    return Rung(Stage.ENCODER, 1, run)


def decoder_rung(subject: Subject, decoder: Decoder, weights: Params, *, looks: int) -> Rung:
    """A reading of every image in `looks` looks. Its loss is the misfit that the last look saw."""

    def run(images: Rows, numbers: Numbers, below: Answer | None, progress: Progress) -> Answer:
        del numbers, below
        inverse = partial(
            decoding.read, decoder, weights, subject.generator, subject.params, subject.whitened, count=looks
        )
        reading, misfit = _in_batches(inverse, images, progress)
        content = reading.content * subject.space.content_stds[None]
        first = int(subject.generator.encode is not None)  # the look and the pass that start it
        costs = {"passes": looks - 1 + first, "looks": looks + first}
        return _reading(Stage.DECODER, content, reading.logits, misfit, damage=reading.damage, **costs)

    return Rung(Stage.DECODER, 1, run)


def _in_batches(function: Callable[[Images], Any], images: Rows, progress: Progress) -> Any:
    """`function` of all images, in batches of one size, filled up with copies."""
    size, parts = min(BATCH, power_of_two(len(images))), []
    for first in range(0, len(images), size):
        some = images[first : first + size]
        found = function(jnp.asarray(some[np.arange(size) % len(some)]))
        parts.append(jax.tree.map(partial(_first, len(some)), found))
        progress(len(some))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _reading(
    stage: Stage,
    content: Float[Array, "b r"],
    logits: Float[Array, "b k"],
    misfit: Float[Array, " b"],
    *,
    passes: int,
    looks: int,
    damage: Float[Array, "b m"] | None = None,
) -> Answer:
    status = jnp.where(jnp.isfinite(misfit), Status.OK, Status.NONFINITE)
    estimate = Estimate(logits > 0, logits, content, misfit, status, jnp.tanh(logits / 2))
    return answer(estimate, stage, passes=passes, looks=looks, damage=damage)


def refine_rung(subject: Subject, *, settings: Settings, known: Harm | None) -> Rung:
    """Descents from the answers below; `known`: coordinates of the damage, if it need not be inferred."""

    def run(images: Rows, numbers: Numbers, below: Answer | None, progress: Progress) -> Answer:
        del numbers
        if below is None:
            raise ValueError("refine starts from a reading and got none: use multistart")
        origin = ends_of(subject, below).theta
        ends = descended(subject, settings, images, _harms(images, below, known), origin, progress)
        return answered(subject, Stage.REFINE, blended(ends, below))

    return Rung(Stage.REFINE, settings.steps, run)


def multistart_rung(
    subject: Subject, *, starts: int, settings: Settings, key: Key, known: Harm | None
) -> Rung:
    """Descents from the mean and from samples of the prior, compared with each other and the answer below.

    An image needs no further start once it is solved or two ends agree. Start s of an image follows from
    `key`, its number and s.
    """

    def run(images: Rows, numbers: Numbers, below: Answer | None, progress: Progress) -> Answer:
        harms = _harms(images, below, known)
        best = None if below is None else ends_of(subject, below)
        settled, spent = np.zeros(len(images), bool), np.zeros(len(images), int)
        for start in range(starts):
            rows = np.flatnonzero(~settled)
            progress(int(settled.sum()) * settings.steps)
            if len(rows) == 0:
                continue
            origin = _starts(key, jnp.asarray(numbers[rows]), start, subject.whitened.origin.shape[0])
            ends = descended(subject, settings, images[rows], harms[rows], np.asarray(origin), progress)
            spent[rows] += ends.passes
            best, settled[rows] = better(best, ends, rows, bits=subject.bits, pixels=images[0].size)
        if best is None:
            raise ValueError(f"got {starts} starts, expected at least 1")
        return answered(subject, Stage.MULTISTART, blended(best._replace(passes=spent), below))

    return Rung(Stage.MULTISTART, starts * settings.steps, run)


def reference_rung(subject: Subject, *, settings: reference.Settings, distance: Distance, key: Key) -> Rung:
    """The paper's search; what happens to an image does not depend on the answers below."""

    def run(images: Rows, numbers: Numbers, below: Answer | None, progress: Progress) -> Answer:
        del below
        found = reference.attribute_images(
            subject.generator,
            subject.params,
            subject.space,
            images,
            key=key,
            sigma=subject.sigma,
            coding=subject.coding,
            distance=distance,
            settings=settings,
            numbers=numbers,
            pairs_per_chunk=32,
            progress=progress,
        )
        return answer(found.estimate, Stage.REFERENCE, passes=2 * settings.starts * settings.steps)

    return Rung(Stage.REFERENCE, settings.starts * settings.steps, run)


def _harms(images: Rows, below: Answer | None, known: Harm | None) -> Harms:
    if known is not None:
        return np.tile(known, (len(images), 1))
    return np.zeros((len(images), damage.SIZE), np.float32) if below is None else np.asarray(below.damage)


def _first(n: int, rows: Array) -> Array:
    return rows[:n]


@partial(jax.jit, static_argnames="d")
def _starts(key: Key, numbers: Int[Array, " b"], start: int | Count, d: int) -> Thetas:
    """Start 0 is the mean, the others are samples of the prior."""

    def draw(number: Count) -> Float[Array, " d"]:
        return jnp.where(start > 0, jax.random.normal(rng.stream(key, "start", number, start), (d,)), 0)

    return jax.vmap(draw)(numbers)
