"""Named attacks and suites of attacks: what may happen to an image file before its code is read.

An attack takes the pixels of one file to the pixels of another. Both ends are 8-bit, so nothing passes that a
file could not hold. A new setting is one row: a name and a composition of

    edited(step, …)     float image operations, compiled together; rounded to 8 bits once, after the last one
    coded(codec)        a real codec, uint8 in and out
    in_order(…)         one after the other, each rounded to 8 bits

`nie2023` holds the post-processes of Nie et al., ICML 2023, with real libjpeg (4:2:0) in place of the
differentiable one, and the centre crop of Kim et al. 2021 at its strongest setting.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from latentfp import rng
from latentfp.augment.blur import gaussian_blur
from latentfp.augment.geometry import crop_and_resize
from latentfp.augment.jpeg import libjpeg
from latentfp.augment.noise import gaussian_noise
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


def suite(name: str) -> tuple[Attack, ...]:
    """The attacks of a suite; ValueError for a name that is not in SUITES."""
    if name not in SUITES:
        raise ValueError(f"unknown attack suite {name!r}: expected one of {', '.join(sorted(SUITES))}")
    return SUITES[name]


def _blur(_: Key, image: Image) -> Image:
    return gaussian_blur(image, sigma=0.5, kernel_size=25)


def _crop(_: Key, image: Image) -> Image:
    return crop_and_resize(image, scale=0.8)


_noise = partial(gaussian_noise, std=0.1)
_jpeg = coded(partial(libjpeg, quality=50))

SUITES: dict[str, tuple[Attack, ...]] = {
    "nie2023": (
        Attack("none", coded(lambda pixels: pixels)),
        Attack("blur", edited(_blur)),
        Attack("noise", edited(_noise)),
        Attack("jpeg", _jpeg),
        Attack("combination", in_order(edited(_blur, _noise), _jpeg)),
        Attack("crop", edited(_crop)),
    ),
}
