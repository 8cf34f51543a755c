"""Perspective: the corners of the image move, and straight lines stay straight.

The image's own corners go to the given places; output pixel (x, y), measured from 0 to 1 across the image,
shows the place

    (a x + b y + c, d x + e y + f) / (g x + h y + 1)

with the eight numbers that take the places back to the corners. Bilinear; black (-1) beyond the image.
Source: `perspective` and `RandomPerspective` of torchvision.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from latentfp.augment.geometry import looked_up
from latentfp.types import Image, Key, Scalar

Corners = Float[Array, "4 2"]  # (right, down) of top left, top right, bottom right, bottom left
SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def perspective(image: Image, *, corners: Corners) -> Image:
    """With its corners at `corners`, in sides from the top left; keeps the range of values.

    Differentiable by both, but piecewise as `geometry.warp`. No three corners may lie on one line.
    """
    h, w, _ = image.shape
    a, b, c, d, e, f, g, k = _back(corners)
    down, right = (jnp.arange(h)[:, None] + 0.5) / h, (jnp.arange(w)[None, :] + 0.5) / w
    depth = g * right + k * down + 1
    x = w * (a * right + b * down + c) / depth - 0.5
    y = h * (d * right + e * down + f) / depth - 0.5
    return looked_up(image, y, x)


def random_perspective(key: Key, image: Image, *, distortion: float | Scalar) -> Image:
    """Every corner moved inwards by up to `distortion`, in [0, 1], of half a side, with equal chances."""
    if isinstance(distortion, float | int) and not 0 <= distortion <= 1:
        raise ValueError(f"distortion {distortion}: expected a share of half the sides, 0 to 1")
    square = jnp.asarray(SQUARE)
    moved = jax.random.uniform(key, (4, 2)) * distortion / 2
    return perspective(image, corners=square + moved * (1 - 2 * square))


def _back(corners: Corners) -> Float[Array, " 8"]:
    """The eight numbers with which `corners` become those of the square."""
    rows, targets = [], []
    for (x, y), (u, v) in zip(corners, SQUARE, strict=True):
        nought = jnp.zeros_like(x)
        one = nought + 1
        rows.append(jnp.stack([x, y, one, nought, nought, nought, -u * x, -u * y]))
        rows.append(jnp.stack([nought, nought, nought, x, y, one, -v * x, -v * y]))
        targets += [u, v]
    return jnp.linalg.solve(jnp.stack(rows), jnp.asarray(targets, corners.dtype))
