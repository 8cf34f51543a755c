"""Sharpness: away from a smoothed image, or towards it.

    y = clip(s + factor · (x - s), -1, 1),    s = x ∗ [1 1 1; 1 5 1; 1 1 1] / 13

The outermost pixels stay as they are. Factor 1 changes nothing, less is smoother. Source: `adjust_sharpness`
of torchvision and `ImageEnhance.Sharpness` of Pillow.
"""

import jax.numpy as jnp

from latentfp.augment.colour import checked_factor
from latentfp.types import Image, Scalar


def sharpness(image: Image, *, factor: float | Scalar) -> Image:
    """Multiply differences from the smoothed image by `factor` > 0; limited to [-1, 1]."""
    h, w, _ = image.shape
    if h < 3 or w < 3:
        return jnp.clip(image, -1, 1)
    around = sum(image[i : h - 2 + i, j : w - 2 + j] for i in range(3) for j in range(3))
    centre = image[1:-1, 1:-1]
    smooth = image.at[1:-1, 1:-1].set((around + 4 * centre) / 13)
    return jnp.clip(smooth + checked_factor(factor) * (image - smooth), -1, 1)
