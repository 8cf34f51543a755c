"""The post-processes of WOUAF, with strengths drawn anew for each image:

    shift → rotation → blur → brightness → noise → erasing → 8 bits → JPEG 50

`shift`, in whole pixels, is what their crop does: it pads with black and cuts to the old size. Brightness is
*added*: kornia's RandomBrightness adds factor - 1. The blur is in pixels whatever the size of the image, and
bites harder on small ones. Source: Kim et al. 2024, *WOUAF: Weight Modulation for User Attribution and
Fingerprinting in Text-to-Image Diffusion Models*, and attack `all` in `attack_initializer.py` of its public
code, which draws margin and taps once a run.
"""

from functools import partial

import jax
import jax.numpy as jnp

from latentfp import rng
from latentfp.augment.attacks import Apply, coded, edited, in_order
from latentfp.augment.blur import gaussian_blur
from latentfp.augment.codecs import libjpeg
from latentfp.augment.erase import random_erase
from latentfp.augment.geometry import rotate, warp
from latentfp.augment.noise import gaussian_noise
from latentfp.types import Image, Key

MARGINS = (0.02, 0.05, 0.08, 0.1)  # of each side
TAPS = (3, 5, 7)


def shift(key: Key, image: Image) -> Image:
    """Moved by up to int(margin · side) pixels each way, the margin one of MARGINS."""
    margins = jnp.asarray([[int(margin * side) for side in image.shape[:2]] for margin in MARGINS])
    limit = jax.random.choice(rng.stream(key, "margin"), margins)
    moved = jax.random.randint(rng.stream(key, "moved"), (2,), -limit, limit + 1)
    return warp(image, shift=moved / jnp.asarray(image.shape[:2]))


def turn(key: Key, image: Image) -> Image:
    """Turned by -30 … 30 degrees."""
    return rotate(image, degrees=jax.random.uniform(key, minval=-30.0, maxval=30.0))


def blur(key: Key, image: Image) -> Image:
    """Blurred by 1 … 3 pixels, cut to one of TAPS."""
    sigma = jax.random.uniform(rng.stream(key, "sigma"), minval=1.0, maxval=3.0)
    blurs = [partial(gaussian_blur, sigma=sigma, kernel_size=taps) for taps in TAPS]
    return jax.lax.switch(jax.random.randint(rng.stream(key, "taps"), (), 0, len(blurs)), blurs, image)


def lighten(key: Key, image: Image) -> Image:
    """With -0.3 … 0.3 added to intensities of [0, 1]; limited to [-1, 1]."""
    return jnp.clip(image + 2 * jax.random.uniform(key, minval=-0.3, maxval=0.3), -1, 1)


def erase(key: Key, image: Image) -> Image:
    """Without 0.02 … 0.33 of the area: a rectangle of height / width 0.3 … 1 or, half of the time, 1 … 3.3.

    It is as long as the image at most, which makes the longest of them smaller.
    """
    area = jax.random.uniform(rng.stream(key, "area"), minval=0.02, maxval=0.33)
    flat = jax.random.uniform(rng.stream(key, "flat"), minval=0.3, maxval=1.0)
    tall = jax.random.uniform(rng.stream(key, "tall"), minval=1.0, maxval=3.3)
    aspect = jnp.where(jax.random.bernoulli(rng.stream(key, "either")), flat, tall)
    return random_erase(rng.stream(key, "place"), image, area=area, aspect=aspect)


def wouaf() -> Apply:
    """All of them, with noise of standard deviation 0.2 of the range [0, 1] and real JPEG."""
    noise = partial(gaussian_noise, std=2 * 0.2)
    return in_order(edited(shift, turn, blur, lighten, noise, erase), coded(partial(libjpeg, quality=50)))
