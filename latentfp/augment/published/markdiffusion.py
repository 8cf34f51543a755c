"""The attacks of MarkDiffusion, at its default settings.

    JPEG 95 · rotation 30 degrees · centre crop to 0.8 of each side, resized back · blur 2 pixels ·
    noise of 25 grey levels · brightness 1.2 · five black masks of 0.05 … 0.1 of each side · ten strokes of
    5 pixels of 512 · adaptive noise 0.5 · autoencoding · regeneration from 0.3 of the diffusion

Adaptive noise looks at the image: dark ones get Gaussian noise, those of many edges salt and pepper, those of
much texture speckle, and all others Poisson noise. Its way of counting photons gives 256 of them for a grey
level, which is next to nothing. The strokes' width scales with the image, the blur is in pixels whatever its
size. Autoencoding and regeneration go through the shipped latent diffusion. Source: Pan et al. 2025,
*MarkDiffusion: An Open-Source Toolkit for Generative Watermarking of Latent Diffusion Models*, and
`image_editor.py` of its public code.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from latentfp import rng
from latentfp.augment import steps
from latentfp.augment.attacks import Attack, edited
from latentfp.augment.noise import gaussian_noise, poisson, salt_and_pepper, speckle
from latentfp.augment.overlay import strokes
from latentfp.augment.regeneration import autoencoded, diffused, embedded
from latentfp.types import Image, Key

MASKS, MASK = 5, 0.1  # how many, and how long at most, in sides
INTENSITY = 0.5
SIDE = 512  # pixels
TEXTURE = 5  # pixels of a patch
PHOTONS = 255 * 256.0  # of white


def mask(key: Key, image: Image) -> Image:
    """The image with MASKS black rectangles anywhere."""
    for index in range(MASKS):
        hidden = [
            _run(rng.stream(key, "mask", index, axis), side) for axis, side in enumerate(image.shape[:2])
        ]
        image = jnp.where((hidden[0][:, None] & hidden[1][None, :])[..., None], -1.0, image)
    return image


def _run(key: Key, side: int) -> Bool[Array, " side"]:
    """Of a line of pixels, those of a piece that is between half and all of MASK long, both ends included."""
    longest = int(side * MASK)
    length = jax.random.randint(rng.stream(key, "length"), (), longest // 2, longest + 1)
    start = jax.random.randint(rng.stream(key, "start"), (), 0, side - length + 1)
    place = jnp.arange(side)
    return (place >= start) & (place <= start + length)


def draw_strokes(key: Key, image: Image) -> Image:
    """The image with ten strokes over it."""
    width = max(1.0, 5 * min(image.shape[:2]) / SIDE)
    return strokes(key, image, count=10, width=width, parts=7, reach=0.25)


def adaptive_noise(key: Key, image: Image) -> Image:
    """Noise of the kind that the image calls for."""
    return jax.lax.switch(_kind(image), [partial(noise, key) for noise in KINDS], image)


def _blended_poisson(key: Key, image: Image) -> Image:
    share = min(0.8, INTENSITY * 1.5)
    return (1 - share) * image + share * poisson(key, image, peak=PHOTONS)


KINDS = (
    partial(gaussian_noise, std=2 * 40 * INTENSITY / 255),
    partial(salt_and_pepper, amount=0.15 * INTENSITY),
    partial(speckle, std=0.5 * INTENSITY),
    _blended_poisson,
)


def _kind(image: Image) -> Array:
    """The number in KINDS: by mean brightness, mean step between neighbours, and mean spread of patches."""
    grey = (image.mean(axis=-1) + 1) * 127.5
    h, w = grey.shape
    edges = sum(jnp.abs(jnp.diff(grey, axis=axis)).sum() for axis in (0, 1)) / (h * w)
    rows, columns = h // TEXTURE, w // TEXTURE
    patches = grey[: rows * TEXTURE, : columns * TEXTURE].reshape(rows, TEXTURE, columns, TEXTURE)
    texture = patches.std(axis=(1, 3)).mean() if rows and columns else 0.0
    bright = jnp.where(edges > 30, 1, jnp.where(texture > 20, 2, 3))
    return jnp.where(grey.mean() < 80, 0, bright)


MARKDIFFUSION = (
    Attack("none", steps.nothing()),
    Attack("JPEG 95", steps.jpeg(95)),
    Attack("rotation 30", edited(steps.rotation(30.0))),
    Attack("crop 0.8", edited(steps.crop(0.8))),
    Attack("blur 2", edited(steps.blur(2.0))),
    Attack("noise 25/255", edited(steps.noise(25 / 255))),
    Attack("brightness 1.2", edited(steps.factor("brightness", 1.2))),
    Attack("masks", edited(mask)),
    Attack("strokes", edited(draw_strokes)),
    Attack("adaptive noise", edited(adaptive_noise)),
    Attack("autoencoded", embedded(autoencoded)),
    Attack("purified 0.3", embedded(partial(diffused, share=0.3))),
)
