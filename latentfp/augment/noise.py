"""Noise. Gaussian noise is the second post-process of the paper (there: std 0.1, then clamped).

    gaussian          clip(x + std · n, -1, 1),          n ~ N(0, 1) for every value of every pixel
    speckle           clip(v + std · n · v, 0, 1)        of intensities v = (x + 1) / 2
    poisson           clip(Poisson(peak · v) / peak, 0, 1)
    salt and pepper   of all pixels a share `amount` / 2 becomes white, and then as many black

The `std` of Gaussian noise is in units of the image range [-1, 1]: 0.1 here is 0.05 on [0, 1] and 12.75 grey
levels. The other kinds are those of MarkDiffusion.
"""

import jax
import jax.numpy as jnp

from latentfp.types import Image, Key, Scalar


def gaussian_noise(key: Key, image: Image, *, std: float | Scalar) -> Image:
    """The image with noise of `std` (in units of the range [-1, 1]), limited to [-1, 1]."""
    return jnp.clip(image + std * jax.random.normal(key, image.shape), -1.0, 1.0)


def speckle(key: Key, image: Image, *, std: float | Scalar) -> Image:
    """The image with noise of `std` times its own intensity, limited to [-1, 1]."""
    noise = jax.random.normal(key, image.shape)
    return jnp.clip((image + 1) * (1 + std * noise) - 1, -1.0, 1.0)


def poisson(key: Key, image: Image, *, peak: float | Scalar) -> Image:
    """Counts of photons, of which white has `peak` > 0, limited to [-1, 1]. Not differentiable."""
    counts = jax.random.poisson(key, peak * jnp.clip((image + 1) / 2, 0, 1))
    return jnp.clip(2 * counts / peak - 1, -1.0, 1.0)


def salt_and_pepper(key: Key, image: Image, *, amount: float | Scalar) -> Image:
    """White (1) and black (-1) pixels, each with the chance `amount` / 2, `amount` in [0, 1].

    Differentiable by the image; by `amount` it is piecewise constant.
    """
    if isinstance(amount, float | int) and not 0 <= amount <= 1:
        raise ValueError(f"amount {amount}: expected a share of the pixels, 0 to 1")
    chance = jax.random.uniform(key, image.shape[:2])[..., None]
    return jnp.where(chance < amount / 2, 1.0, jnp.where(chance < amount, -1.0, image))
