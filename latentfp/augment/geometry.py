"""Cropping, with the crop enlarged to the old size.

A window of round(scale · h) × round(scale · w) whole pixels is cut out and resized to h × w by bilinear
interpolation: pixel centres at half-integers, the window's own edge pixels repeated outside it. `scale` is
the share of each *side* that is kept: 0.8 keeps 64 % of the area. Source of the centre crop: Kim et al. 2021,
*Decentralized Attribution of Generative Models* (scale 0.8 to 1), on which the paper builds.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from latentfp.augment.separable import separable
from latentfp.types import Count, Image, Key, Scalar


def crop_and_resize(image: Image, *, scale: float | Scalar) -> Image:
    """Keep the central `scale`, in (0, 1], of each side; keeps the range of values.

    Differentiable by the image; by `scale` it is piecewise smooth only, since windows are whole pixels.
    """
    h, w, _ = image.shape
    height, width = _kept(h, scale), _kept(w, scale)
    return _resized_window(image, (h - height) // 2, (w - width) // 2, height, width)


def random_crop_and_resize(key: Key, image: Image, *, scale: float | Scalar) -> Image:
    """Like `crop_and_resize`, but the window lies anywhere in the image with equal probability."""
    h, w, _ = image.shape
    height, width = _kept(h, scale), _kept(w, scale)
    top, left = jax.random.randint(key, (2,), 0, jnp.stack([h - height, w - width]) + 1)
    return _resized_window(image, top, left, height, width)


def _kept(n: int, scale: float | Scalar) -> Count:
    if isinstance(scale, float | int) and not 0 < scale <= 1:
        raise ValueError(f"scale {scale}: expected the share of each side to keep, above 0 and at most 1")
    return jnp.maximum(jnp.round(n * jnp.float32(scale)).astype(int), 1)


def _resized_window(image: Image, top: Count, left: Count, height: Count, width: Count) -> Image:
    h, w, _ = image.shape
    return separable(image, rows=_bilinear_matrix(h, top, height), columns=_bilinear_matrix(w, left, width))


def _bilinear_matrix(n: int, start: Count, size: Count) -> Float[Array, "n n"]:
    """Stretches pixels start … start + size - 1 of a line of n pixels over the whole line."""
    centre = start + (jnp.arange(n) + 0.5) * size / n - 0.5
    inside = jnp.clip(centre, start, start + size - 1)
    return jnp.maximum(0.0, 1.0 - jnp.abs(inside[:, None] - jnp.arange(n)[None, :]))
