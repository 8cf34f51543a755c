"""Brightness, contrast, saturation and hue, in the intensities v = (x + 1) / 2 of [0, 1]:

    brightness   clip(factor · v, 0, 1)
    contrast     clip(m + factor · (v - m), 0, 1),   m the mean grey of the image (ITU-R BT.601 luma)
    saturation   clip(g + factor · (v - g), 0, 1),   g the grey of the pixel
    hue          the hue of HSV moved by `turn` of its circle; saturation and value stay

Factor 1 and turn 0 change nothing. Source: `adjust_brightness` … `adjust_hue` of torchvision, which the suite
of Stable Signature uses; `ImageEnhance` of Pillow, which WAVES uses, differs by its rounding only. HSV: Smith
1978, *Color Gamut Transform Pairs*.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from latentfp.types import Image, Scalar

LUMA = (0.299, 0.587, 0.114)


def brightness(image: Image, *, factor: float | Scalar) -> Image:
    """Multiply intensities by `factor` > 0; limited to [-1, 1]."""
    return limited(checked_factor(factor) * (image + 1) / 2)


def contrast(image: Image, *, factor: float | Scalar) -> Image:
    """Multiply differences from the image's mean grey by `factor` > 0; limited to [-1, 1]."""
    intensity = (image + 1) / 2
    grey = jnp.mean(intensity @ jnp.asarray(LUMA))
    return limited(grey + checked_factor(factor) * (intensity - grey))


def saturation(image: Image, *, factor: float | Scalar) -> Image:
    """Multiply differences from each pixel's own grey by `factor` > 0; limited to [-1, 1]."""
    intensity = (image + 1) / 2
    grey = (intensity @ jnp.asarray(LUMA))[..., None]
    return limited(grey + checked_factor(factor) * (intensity - grey))


def hue(image: Image, *, turn: float | Scalar) -> Image:
    """Move the hue of every pixel by `turn`, in circles (1 is none); keeps the range [0, 1] of intensities.

    Differentiable but where two channels of a pixel are equal; greys stay grey.
    """
    intensity = (image + 1) / 2
    value, spread, sixths = _hue_of(intensity)
    offsets = jnp.asarray([5.0, 3.0, 1.0])  # of red, green and blue, in sixths of the circle
    place = jnp.mod(offsets[None, None] + (sixths + 6 * jnp.asarray(turn))[..., None], 6)
    strength = jnp.clip(jnp.minimum(place, 4 - place), 0, 1)
    return 2 * (value[..., None] - spread[..., None] * strength) - 1


def _hue_of(intensity: Image) -> tuple[Float[Array, "h w"], Float[Array, "h w"], Float[Array, "h w"]]:
    """Value, largest minus smallest channel, and hue in sixths of the circle, of every pixel."""
    r, g, b = intensity[..., 0], intensity[..., 1], intensity[..., 2]
    value = intensity.max(axis=-1)
    spread = value - intensity.min(axis=-1)
    safe = jnp.where(spread > 0, spread, 1.0)
    sixths = jnp.where(
        value == r, (g - b) / safe, jnp.where(value == g, 2 + (b - r) / safe, 4 + (r - g) / safe)
    )
    return value, spread, sixths


def checked_factor(factor: float | Scalar) -> float | Scalar:
    """`factor`; ValueError for a number that is not positive."""
    if isinstance(factor, float | int) and factor <= 0:
        raise ValueError(f"factor {factor}: expected a positive number, 1 for no change")
    return factor


def limited(intensity: Image) -> Image:
    """The image in [-1, 1] of intensities, which are limited to [0, 1]."""
    return jnp.clip(2 * intensity - 1, -1, 1)
