"""The attacks of the paper at random strengths, on whole batches of images.

    blur         standard deviation 0.3 … 1.5 pixels, 25 taps          the paper: 0.5
    noise        standard deviation 0.01 … 0.1 of [0, 1]               0.05
    jpeg         quality 30 … 90, libjpeg, 4:2:0                       50
    crop         centre, 0.6 … 0.95 of each side, resized back         0.8 in the suite `nie2023`
    combination  blur → noise → 8 bits → JPEG, each as above           0.5, 0.05, 50

Strengths are uniform. Everything is rounded to 8 bits at the end. Sources: suites.py.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8, UInt32

from latentfp.augment.blur import gaussian_blur
from latentfp.augment.codecs import libjpeg
from latentfp.augment.geometry import crop_and_resize
from latentfp.augment.noise import gaussian_noise
from latentfp.pixels import to_float, to_pixels
from latentfp.runtime.batches import batches
from latentfp.types import Image, Key, Pixels

Rows = UInt8[np.ndarray, "n h w 3"]

BLUR, NOISE, QUALITY, SHARE = (0.3, 1.5), (0.01, 0.1), (30, 90), (0.6, 0.95)
BATCH = 256  # the last one is filled up


class Strengths(NamedTuple):
    """Of the edits of one image or of a batch; `noise` in units of the range [-1, 1]."""

    blur: Float[Array, "*b"]
    noise: Float[Array, "*b"]
    share: Float[Array, "*b"]


Edit = Callable[[Key, Image, Strengths], Image]


def _blur(_key: Key, image: Image, strengths: Strengths) -> Image:
    return gaussian_blur(image, sigma=strengths.blur)


def _noise(key: Key, image: Image, strengths: Strengths) -> Image:
    return gaussian_noise(key, image, std=strengths.noise)


def _crop(_key: Key, image: Image, strengths: Strengths) -> Image:
    return crop_and_resize(image, scale=strengths.share)


def _blur_and_noise(key: Key, image: Image, strengths: Strengths) -> Image:
    return _noise(key, _blur(key, image, strengths), strengths)


EDITS: dict[str, Edit] = {"blur": _blur, "noise": _noise, "crop": _crop, "combination": _blur_and_noise}
CODED = ("jpeg", "combination")
ATTACKS = ("blur", "noise", "jpeg", "crop", "combination")


def attack(images: Rows, generators: Sequence[np.random.Generator], turns: Int[np.ndarray, " n"]) -> Rows:
    """Each image through the attack number `turns` modulo five, of strengths from its own random numbers."""
    drawn = [_strengths(random) for random in generators]
    attacked = images.copy()
    for index, name in enumerate(ATTACKS):
        mine = np.flatnonzero(turns % len(ATTACKS) == index)
        if name in EDITS and len(mine):
            attacked[mine] = _edited(EDITS[name], attacked[mine], [drawn[row] for row in mine])
        if name in CODED:
            for row in mine:
                attacked[row] = libjpeg(attacked[row], quality=drawn[row].quality)
    return attacked


class _Drawn(NamedTuple):
    seed: int
    strengths: tuple[float, float, float]  # in the order of Strengths
    quality: int


def _strengths(random: np.random.Generator) -> _Drawn:
    blur, noise, share = (float(random.uniform(*bounds)) for bounds in (BLUR, NOISE, SHARE))
    quality = int(random.integers(QUALITY[0], QUALITY[1] + 1))
    return _Drawn(int(random.integers(2**31)), (blur, 2 * noise, share), quality)


def _edited(edit: Edit, images: Rows, drawn: Sequence[_Drawn]) -> Rows:
    parts = []
    for rows in batches(len(images), BATCH):
        seeds = np.array([drawn[row].seed for row in rows], np.uint32)
        strengths = Strengths(*jnp.array([drawn[row].strengths for row in rows], jnp.float32).T)
        parts.append(np.asarray(_edit_batch(edit, jnp.asarray(seeds), jnp.asarray(images[rows]), strengths)))
    return np.concatenate(parts)[: len(images)]


@functools.partial(jax.jit, static_argnames="edit")
def _edit_batch(
    edit: Edit, seeds: UInt32[Array, " b"], images: UInt8[Array, "b h w 3"], strengths: Strengths
) -> UInt8[Array, "b h w 3"]:
    def edited(seed: UInt32[Array, ""], pixels: Pixels, strength: Strengths) -> Pixels:
        return to_pixels(edit(jax.random.key(seed), to_float(pixels), strength))

    return jax.vmap(edited)(seeds, images, strengths)
