"""Attacks on image files: what may happen to one before its code is read.

An attack takes the pixels of one file to the pixels of another. Both ends are 8-bit, so nothing passes that a
file could not hold. A new setting is one row: a name and a composition of

    edited(step, …)     float image operations, compiled together; rounded to 8 bits once, after the last one
    coded(codec)        a real codec, uint8 in and out
    in_order(…)         one after the other, each rounded to 8 bits

The same composition is the same attack, made and compiled once. The steps here are single operations at a
stated strength, in the units of papers: blur in pixels, noise in units of [0, 1], crop and resize as shares
of a *side*, rotation in degrees counter-clockwise, colours as factors.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import numpy as np

from latentfp import rng
from latentfp.augment.blur import gaussian_blur, sharpness
from latentfp.augment.codecs import libjpeg
from latentfp.augment.colour import brightness, contrast, saturation
from latentfp.augment.geometry import crop_and_resize, random_crop_and_resize, rotate, shrink_and_enlarge
from latentfp.augment.noise import gaussian_noise
from latentfp.pixels import to_float, to_pixels
from latentfp.types import Image, Key, Pixels

Step = Callable[[Key, Image], Image]
Apply = Callable[[Key, Pixels], Pixels]
FACTORS = {
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
    "sharpness": sharpness,
}


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


def keyless(operation: Callable[[Image], Image]) -> Step:
    """An operation without randomness as a step."""
    return lambda _, image: operation(image)


def coded(codec: Callable[[Pixels], Pixels]) -> Apply:
    """A codec as an attack: nothing random."""
    return lambda _, pixels: codec(pixels)


@cache
def in_order(*attacks: Apply) -> Apply:
    """Attacks one after the other, each with its own randomness."""

    def apply(key: Key, pixels: Pixels) -> Pixels:
        for index, attack in enumerate(attacks):
            pixels = attack(rng.stream(key, "attack/stage", index), pixels)
        return pixels

    return apply


@cache
def nothing() -> Apply:
    """The file as it is."""
    return coded(lambda pixels: pixels)


@cache
def blur(sigma: float) -> Step:
    """Gaussian, 25 taps."""
    return keyless(partial(gaussian_blur, sigma=sigma, kernel_size=25))


@cache
def noise(std: float) -> Step:
    """Gaussian, of standard deviation `std` of the range [0, 1]."""
    return partial(gaussian_noise, std=2 * std)


@cache
def crop(scale: float) -> Step:
    """The centre, resized back."""
    return keyless(partial(crop_and_resize, scale=scale))


@cache
def crop_anywhere(scale: float) -> Step:
    """A window at random, resized back."""
    return partial(random_crop_and_resize, scale=scale)


@cache
def resize(scale: float) -> Step:
    """Shrunk, and enlarged again."""
    return keyless(partial(shrink_and_enlarge, scale=scale))


@cache
def rotation(degrees: float) -> Step:
    """About the centre, black corners."""
    return keyless(partial(rotate, degrees=degrees))


@cache
def factor(name: str, by: float) -> Step:
    """One of FACTORS."""
    return keyless(partial(FACTORS[name], factor=by))


@cache
def jpeg(quality: int) -> Apply:
    """Real libjpeg at 4:2:0."""
    return coded(partial(libjpeg, quality=quality))
