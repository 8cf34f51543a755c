"""Attacks on image files: what may happen to one before its code is read.

An attack takes the pixels of one file to the pixels of another. Both ends are 8-bit, so nothing passes that a
file could not hold. A new setting is one row: a name and a composition of

    edited(step, …)     float image operations, compiled together; rounded to 8 bits once, after the last one
    coded(codec, …)     a real codec, uint8 in and out
    in_order(…)         one after the other, each rounded to 8 bits

A step is an operation at a stated strength: keyless(rotate, degrees=30.0), or drawn(gaussian_noise, std=0.1)
where it is random. The same composition is the same attack, made and compiled once.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple

import jax
import numpy as np

from latentfp import rng
from latentfp.pixels import to_float, to_pixels
from latentfp.types import Image, Key, Pixels

Step = Callable[[Key, Image], Image]
Apply = Callable[[Key, Pixels], Pixels]


class Attack(NamedTuple):
    """`apply(key, pixels)` gives the attacked pixels, of the same shape: the same ones for the same key.

    >>> import numpy as np
    >>> darker = lf.Attack("darker", lambda key, pixels: pixels // 2)
    >>> int(darker.apply(None, np.full((8, 8, 3), 200, np.uint8)).max())
    100
    """

    name: str
    apply: Apply


@cache
def edited(*steps: Step) -> Apply:
    """Float operations on the image in [-1, 1], with one rounding to 8 bits at the end."""

    @jax.jit
    def edit(key: Key, pixels: Pixels) -> Pixels:
        image = to_float(pixels)
        for index, step in enumerate(steps):
            image = step(rng.stream(key, "attack/step", index), image)
        return to_pixels(image)

    return lambda key, pixels: np.asarray(edit(key, pixels))


@cache
def keyless(operation: Callable[..., Image], **strength: float) -> Step:
    """An operation on the image alone, at this strength, as a step."""
    return lambda _, image: operation(image, **strength)


@cache
def drawn(operation: Callable[..., Image], **strength: float) -> Step:
    """An operation with randomness, at this strength, as a step."""
    return partial(operation, **strength)


@cache
def coded(codec: Callable[..., Pixels], **options: float | int) -> Apply:
    """A codec as an attack: nothing random."""
    return lambda _, pixels: codec(pixels, **options)


@cache
def in_order(*attacks: Apply) -> Apply:
    """Attacks one after the other, each with its own randomness."""

    def apply(key: Key, pixels: Pixels) -> Pixels:
        for index, attack in enumerate(attacks):
            pixels = attack(rng.stream(key, "attack/stage", index), pixels)
        return pixels

    return apply


def graded(
    label: str,
    operation: Callable[..., Image],
    strength: str,
    values: Sequence[float],
    *,
    step: Callable[..., Step] = keyless,
) -> tuple[Attack, ...]:
    """An operation alone at each of the values of its strength: an attack each, called `label value`."""
    return tuple(Attack(f"{label} {x:g}", edited(step(operation, **{strength: x}))) for x in values)


NOTHING = Attack("none", coded(lambda pixels: pixels))  # the file as it is
