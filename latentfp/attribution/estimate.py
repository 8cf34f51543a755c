"""What every way of attribution returns: the estimated code and content of an image, and how that went."""

import enum
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from latentfp.augment.damage import SIZE
from latentfp.choices import Stage

Rows = Int[np.ndarray, " n"]
Progress = Callable[[int], object]  # is told how much more is done


class Status(enum.IntEnum):
    """How an estimate ended; a failure is a value, never an exception."""

    OK = 0
    NONFINITE = 1  # no start reached a finite loss at a finite point, as for an image that holds NaN


class Estimate(NamedTuple):
    """The code and content that explain each image of a batch best."""

    code: Bool[Array, "b k"]
    logits: Float[Array, "b k"]  # positive for a set bit: kappa, or the log-likelihood ratio
    content: Float[Array, "b r"]  # alpha, in the latent's units
    loss: Float[Array, " b"]  # the objective that was minimised
    status: Int[Array, " b"]  # a Status
    levels: Float[Array, "b k"]  # where each bit's coordinate lies, -1 and 1 its two levels


class Answer(NamedTuple):
    """Estimates, the stage that each comes from, what all stages up to there cost, and the inferred damage.

    `passes` counts evaluations of the generator and products with its Jacobian or the transpose, `looks`
    passes of the decoder's network or of the generator's encoder. `damage` is in the coordinates of
    augment/damage.py.
    """

    estimate: Estimate
    stage: Int[Array, " b"]  # a Stage
    passes: Int[Array, " b"]
    looks: Int[Array, " b"]
    damage: Float[Array, "b m"]


class Estimator(NamedTuple):
    """A way of attribution. `run(images [n h w 3], number of the first, progress)`.

    `work`: how much progress an image makes; `run` reports that much for each image.
    """

    work: int
    run: Callable[[Float[np.ndarray, "n h w 3"], int, Progress], Answer]


def answer(
    estimate: Estimate,
    stage: Stage,
    *,
    passes: Array | int,
    looks: Array | int = 0,
    damage: Array | None = None,
) -> Answer:
    """An answer of one stage; costs may be given once for all images, no damage stands for none."""
    shape = estimate.status.shape
    return Answer(
        estimate,
        jnp.full(shape, int(stage)),
        jnp.broadcast_to(jnp.asarray(passes, int), shape),
        jnp.broadcast_to(jnp.asarray(looks, int), shape),
        jnp.zeros((*shape, SIZE)) if damage is None else damage,
    )


def is_reading(found: Answer) -> Bool[np.ndarray, " n"]:
    """Which answers are what a network reads of the pixels, not an explanation by the generator."""
    return np.asarray(found.stage) <= Stage.DECODER


def select(found: Answer, rows: Rows) -> Answer:
    """The answers in these rows."""
    return jax.tree.map(lambda leaf: leaf[rows], found)


def replace(found: Answer, rows: Rows, better: Answer) -> Answer:
    """`found` with `better` in these rows."""
    return jax.tree.map(lambda old, new: old.at[rows].set(new.astype(old.dtype)), found, better)


def stack(found: list[Answer]) -> Answer:
    """One batch after the other."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)
