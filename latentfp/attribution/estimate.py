"""What every way of attribution returns: the estimated code and content of an image, and how that went."""

import enum
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from latentfp.attribution import covered
from latentfp.attribution.orientation import UPRIGHT
from latentfp.augment.damage import SIZE
from latentfp.choices import Stage

Rows = Int[np.ndarray, " _"]
# An image's own words of 31 bits, from which everything random about it follows.
ImageIds = Int[np.ndarray, "_ words"]
Rowed = TypeVar("Rowed")  # arrays of the same rows, as a pytree
Advance = Callable[[int], object]  # is told how much more is done
Progress = Callable[[int, str], object]  # and what is being done


class Status(enum.IntEnum):
    """How an estimate ended; a failure is a value, never an exception."""

    OK = 0
    NONFINITE = 1  # no start reached a finite loss at a finite point, as for an image that holds NaN


class Estimate(NamedTuple):
    """The code and content that explain each image of a batch best."""

    code: Bool[Any, "b k"]
    logits: Float[Any, "b k"]  # positive for a set bit: kappa, or the log-likelihood ratio
    content: Float[Any, "b r"]  # alpha, in the latent's units
    loss: Float[Any, " b"]  # the objective that was minimised
    status: Int[Any, " b"]  # a Status
    levels: Float[Any, "b k"]  # where each bit's coordinate lies, -1 and 1 its two levels


class Answer(NamedTuple):
    """Estimates, the stage that each comes from, what all stages up to there cost, and the inferred damage.

    `passes` counts evaluations of the generator and products with its Jacobian or the transpose, `iterations`
    passes of the decoder's network or of the generator's encoder. `distortion`: the parameters of the damage,
    in the coordinates of augment/damage.py; `orientation`: in which the image was explained, a number of
    `orientations` (orientation.py); `hidden`: the cells of it that were left out (covered.py). All arrays are
    NumPy's.
    """

    estimate: Estimate
    stage: Int[np.ndarray, " b"]  # a Stage
    passes: Int[np.ndarray, " b"]
    iterations: Int[np.ndarray, " b"]
    distortion: Float[np.ndarray, "b m"]
    orientation: Int[np.ndarray, " b"]
    hidden: covered.Cells


def ignore(_done: int, _what: str = "") -> None:
    """Progress that nobody follows."""


def answer(
    estimate: Estimate,
    stage: Stage,
    *,
    passes: Any,
    iterations: Any = 0,
    distortion: Any = None,
    orientation: Any = UPRIGHT,
    hidden: Any = None,
) -> Answer:
    """An answer of one stage; what is the same of all images may be given once, no distortion is none."""
    shape = np.shape(estimate.status)
    return Answer(
        Estimate(*map(np.asarray, estimate)),
        np.full(shape, int(stage)),
        np.broadcast_to(np.asarray(passes, int), shape),
        np.broadcast_to(np.asarray(iterations, int), shape),
        np.zeros((*shape, SIZE), np.float32) if distortion is None else np.asarray(distortion),
        np.broadcast_to(np.asarray(orientation, int), shape),
        covered.nothing(*shape) if hidden is None else np.asarray(hidden),
    )


def is_reading(found: Answer) -> Bool[np.ndarray, " n"]:
    """Which answers are what a network reads of the pixels, not an explanation by the generator."""
    return found.stage <= Stage.DECODER


def select(found: Rowed, rows: Rows | Bool[np.ndarray, " b"]) -> Rowed:
    """What is found in these rows."""
    return jax.tree.map(lambda leaf: leaf[rows], found)


def replace(found: Rowed, rows: Rows, better: Rowed) -> Rowed:
    """`found` with `better` in these rows."""

    def replaced(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        merged = np.array(old)
        merged[rows] = new
        return merged

    return jax.tree.map(replaced, found, better)


def stack(found: Sequence[Answer]) -> Answer:
    """One batch after the other."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)


def numbered(first: int, count: int) -> ImageIds:
    """The ids of images that have no file: numbers `first`, `first` + 1, …"""
    return np.arange(first, first + count, dtype=np.int32)[:, None]


def hashed(hashes: Sequence[str]) -> ImageIds:
    """The ids of images by SHA-256, hexadecimal: of its first two words of 32 bits, the upper 31."""
    words = [[int(text[:8], 16) >> 1, int(text[8:16], 16) >> 1] for text in hashes]
    return np.array(words, np.int32).reshape(-1, 2)
