"""Additive Gaussian noise, the second post-process of the paper (there: std 0.1, then clamped).

    y = clip(x + std · n, -1, 1),    n ~ N(0, 1) for every value of every pixel

`std` is in units of the image range [-1, 1]: 0.1 here is 0.05 on [0, 1] and 12.75 grey levels.
"""

import jax
import jax.numpy as jnp

from latentfp.types import Image, Key, Scalar


def gaussian_noise(key: Key, image: Image, *, std: float | Scalar) -> Image:
    """The image with noise of `std` (in units of the range [-1, 1]), limited to [-1, 1]."""
    return jnp.clip(image + std * jax.random.normal(key, image.shape), -1.0, 1.0)
