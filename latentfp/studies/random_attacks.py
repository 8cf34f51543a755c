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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt8

from latentfp.augment.blur import gaussian_blur
from latentfp.augment.codecs import libjpeg
from latentfp.augment.geometry import crop_and_resize
from latentfp.augment.noise import gaussian_noise
from latentfp.pixels import to_float, to_pixels
from latentfp.runtime.batches import batches
from latentfp.studies.context import Rows
from latentfp.types import Image

BLUR, NOISE, QUALITY, SHARE = (0.3, 1.5), (0.01, 0.1), (30, 90), (0.6, 0.95)
BATCH = 256  # the last one is filled up


class Drawn(NamedTuple):
    """What is drawn for one image, or for each of a batch; `noise` in units of the range [-1, 1]."""

    seed: Any
    blur: Any
    noise: Any
    share: Any
    quality: Any


Edit = Callable[[Image, Drawn], Image]


def _blur(image: Image, drawn: Drawn) -> Image:
    return gaussian_blur(image, sigma=drawn.blur)


def _noise(image: Image, drawn: Drawn) -> Image:
    return gaussian_noise(jax.random.key(drawn.seed), image, std=drawn.noise)


def _crop(image: Image, drawn: Drawn) -> Image:
    return crop_and_resize(image, scale=drawn.share)


def _blur_and_noise(image: Image, drawn: Drawn) -> Image:
    return _noise(_blur(image, drawn), drawn)


ATTACKS: dict[str, tuple[Edit | None, bool]] = {  # an edit, and whether JPEG follows
    "blur": (_blur, False),
    "noise": (_noise, False),
    "jpeg": (None, True),
    "crop": (_crop, False),
    "combination": (_blur_and_noise, True),
}


def attack(images: Rows, generators: Sequence[np.random.Generator], turns: Int[np.ndarray, " n"]) -> Rows:
    """Each image through the attack number `turns` modulo five, of strengths from its own random numbers."""
    drawn = list(map(_drawn, generators))
    attacked = images.copy()
    for index, (edit, is_coded) in enumerate(ATTACKS.values()):
        mine = np.flatnonzero(turns % len(ATTACKS) == index)
        if edit and len(mine):
            attacked[mine] = _edited(edit, attacked[mine], [drawn[row] for row in mine])
        if is_coded:
            for row in mine:
                attacked[row] = libjpeg(attacked[row], quality=drawn[row].quality)
    return attacked


def _drawn(random: np.random.Generator) -> Drawn:
    blur, noise, share = (float(random.uniform(*bounds)) for bounds in (BLUR, NOISE, SHARE))
    quality = int(random.integers(QUALITY[0], QUALITY[1] + 1))
    return Drawn(int(random.integers(2**31)), blur, 2 * noise, share, quality)


def _edited(edit: Edit, images: Rows, drawn: Sequence[Drawn]) -> Rows:
    types = (np.uint32, *[np.float32] * 3, np.int32)
    parts = []
    for rows in batches(len(images), BATCH):
        columns = zip(*(drawn[row] for row in rows), strict=True)
        some = Drawn(*(np.array(column, kind) for column, kind in zip(columns, types, strict=True)))
        parts.append(np.asarray(_edit_batch(edit, jnp.asarray(images[rows]), some)))
    return np.concatenate(parts)[: len(images)]


@functools.partial(jax.jit, static_argnames="edit")
def _edit_batch(edit: Edit, images: UInt8[Array, "b h w 3"], drawn: Drawn) -> UInt8[Array, "b h w 3"]:
    return jax.vmap(lambda pixels, its: to_pixels(edit(to_float(pixels), its)))(images, drawn)
