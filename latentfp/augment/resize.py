"""Shrinking, with the small image enlarged to the old size.

A line of n pixels becomes m = max(round(scale · n), 1) pixels and n again. Shrinking weighs old pixels by a
triangle that reaches n / m to either side, so nothing is skipped; enlarging is bilinear with the edge pixels
repeated. Pixel centres are at half-integers. Source: the bilinear filter of Pillow, and of torchvision with
antialiasing.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from latentfp.augment.separable import separable
from latentfp.types import Image, Scalar


def shrink_and_enlarge(image: Image, *, scale: float | Scalar) -> Image:
    """Down to `scale`, in (0, 1], of each side and back; keeps the range of values.

    Differentiable by the image; by `scale` it is piecewise constant, since pixels are whole.
    """
    if isinstance(scale, float | int) and not 0 < scale <= 1:
        raise ValueError(f"scale {scale}: expected the share of each side to keep, above 0 and at most 1")
    h, w, _ = image.shape
    return separable(image, rows=_there_and_back(h, scale), columns=_there_and_back(w, scale))


def _there_and_back(n: int, scale: float | Scalar) -> Float[Array, "n n"]:
    """Both steps as one matrix; of the small line's pixels only the first m exist."""
    small = jnp.maximum(jnp.round(n * jnp.float32(scale)), 1)
    old, new = jnp.arange(n) + 0.5, (jnp.arange(n) + 0.5) * n / small
    shrinking = jnp.maximum(0.0, 1.0 - jnp.abs(new[:, None] - old[None, :]) * small / n)
    shrinking = shrinking / jnp.maximum(shrinking.sum(axis=1, keepdims=True), 1e-6)
    places = jnp.clip(old * small / n - 0.5, 0, small - 1)
    enlarging = jnp.maximum(0.0, 1.0 - jnp.abs(places[:, None] - jnp.arange(n)[None, :]))
    return jnp.einsum("im,mj->ij", enlarging, shrinking, precision="highest")
