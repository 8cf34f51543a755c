"""Attacks on image files: what may happen to one before its code is read.

An attack takes the pixels of one file to the pixels of another. Both ends are 8-bit, so nothing passes that a
file could not hold. A new setting is one row: a name and a composition of

    edited(step, …)     float image operations, compiled together; rounded to 8 bits once, after the last one
    coded(codec)        a real codec, uint8 in and out
    in_order(…)         one after the other, each rounded to 8 bits
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from latentfp import rng
from latentfp.pixels import to_float, to_pixels
from latentfp.types import Image, Key, Pixels

Step = Callable[[Key, Image], Image]
Apply = Callable[[Key, Pixels], Pixels]


class Attack(NamedTuple):
    """`apply(key, pixels)` gives the attacked pixels, of the same shape: the same ones for the same key."""

    name: str
    apply: Apply


def edited(*steps: Step) -> Apply:
    """Float operations on the image in [-1, 1], with one rounding to 8 bits at the end."""

    @jax.jit
    def edit(key: Key, pixels: Pixels) -> Pixels:
        image = to_float(pixels)
        for index, step in enumerate(steps):
            image = step(rng.stream(key, "attack/step", index), image)
        return to_pixels(image)

    return lambda key, pixels: np.asarray(edit(key, pixels))


def keyless(operation: Callable[[Image], Image]) -> Step:
    """An operation without randomness as a step."""
    return lambda _, image: operation(image)


def coded(codec: Callable[[Pixels], Pixels]) -> Apply:
    """A codec as an attack: nothing random."""
    return lambda _, pixels: codec(pixels)


def in_order(*attacks: Apply) -> Apply:
    """Attacks one after the other, each with its own randomness."""

    def apply(key: Key, pixels: Pixels) -> Pixels:
        for index, attack in enumerate(attacks):
            pixels = attack(rng.stream(key, "attack/stage", index), pixels)
        return pixels

    return apply
