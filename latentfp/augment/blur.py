"""Gaussian blur, the first post-process of the paper (there: kernel 25, sigma 0.5 pixels).

    y = Σ_ij t_i t_j x(· + i, · + j),    t_i ∝ exp(-i² / (2 sigma²)),  |i| ≤ kernel_size // 2,  Σ t_i = 1

Outside the image stands its mirror image, in which the edge pixel is not repeated. Source: `GaussianBlur` of
torchvision, which the paper's public code uses.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latentfp.augment.separable import separable
from latentfp.types import Image, Scalar


def gaussian_blur(image: Image, *, sigma: float | Scalar, kernel_size: int = 25) -> Image:
    """Blur with a standard deviation of `sigma` > 0 pixels; keeps the range of values.

    `kernel_size` is odd. Where it exceeds the image, the mirror image is mirrored again.
    """
    h, w, _ = image.shape
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size {kernel_size}: expected an odd number of pixels, such as 25")
    if isinstance(sigma, float | int) and sigma <= 0:
        raise ValueError(f"sigma {sigma}: expected a positive number of pixels; leave the blur out for none")
    offsets = jnp.arange(kernel_size) - kernel_size // 2
    taps = jnp.exp(-0.5 * (offsets / sigma) ** 2)
    taps /= taps.sum()
    return separable(image, rows=_filter_matrix(taps, h), columns=_filter_matrix(taps, w))


def _filter_matrix(taps: Float[Array, " t"], n: int) -> Float[Array, "n n"]:
    """Row i holds the weights with which the n pixels of a line enter output pixel i."""
    mirrored = np.pad(np.arange(n), len(taps) // 2, mode="reflect")
    pixel = np.arange(n)[:, None]
    return jnp.zeros((n, n)).at[pixel, mirrored[pixel + np.arange(len(taps))]].add(taps)
