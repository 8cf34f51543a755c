"""Brightness and contrast, in the intensities v = (x + 1) / 2 of [0, 1]:

    brightness   clip(factor · v, 0, 1)
    contrast     clip(m + factor · (v - m), 0, 1),   m the mean grey of the image (ITU-R BT.601 luma)

Factor 1 changes nothing. Source: `adjust_brightness` and `adjust_contrast` of torchvision, which the suite of
Stable Signature uses; `ImageEnhance` of Pillow, which WAVES uses, differs by its rounding only.
"""

import jax.numpy as jnp

from latentfp.types import Image, Scalar

LUMA = (0.299, 0.587, 0.114)


def brightness(image: Image, *, factor: float | Scalar) -> Image:
    """Multiply intensities by `factor` > 0; limited to [-1, 1]."""
    return _limited(_checked(factor) * (image + 1) / 2)


def contrast(image: Image, *, factor: float | Scalar) -> Image:
    """Multiply differences from the image's mean grey by `factor` > 0; limited to [-1, 1]."""
    intensity = (image + 1) / 2
    grey = jnp.mean(intensity @ jnp.asarray(LUMA))
    return _limited(grey + _checked(factor) * (intensity - grey))


def _checked(factor: float | Scalar) -> float | Scalar:
    if isinstance(factor, float | int) and factor <= 0:
        raise ValueError(f"factor {factor}: expected a positive number, 1 for no change")
    return factor


def _limited(intensity: Image) -> Image:
    return jnp.clip(2 * intensity - 1, -1, 1)
