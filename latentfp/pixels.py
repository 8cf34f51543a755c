"""The 8-bit boundary: float images in [-1, 1] on one side, the uint8 pixels of a file on the other.

    pixel = round((x + 1) · 127.5), limited to 0 … 255,        x = pixel / 127.5 - 1

Halves round to even, and every pixel survives the way to float and back. Arrays of any shape; NumPy arrays
stay NumPy arrays, JAX arrays stay JAX arrays and may be traced.
"""

from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8


def to_pixels(image: Float[Any, "..."]) -> UInt8[Any, "..."]:
    """The 8-bit pixels of an image nominally in [-1, 1]; values outside are limited, NaN has no pixel."""
    xp = _numpy_of(image)
    return xp.round(xp.clip((image.astype(np.float32) + 1) * 127.5, 0, 255)).astype(np.uint8)


def to_float(pixels: UInt8[Any, "..."]) -> Float[Any, "..."]:
    """The float32 image in [-1, 1] that these pixels stand for."""
    return pixels.astype(np.float32) / 127.5 - 1


@jax.custom_jvp
def round_to_8bit(image: Float[Array, "..."]) -> Float[Array, "..."]:
    """The image as a file would keep it, still a float32 in [-1, 1].

    Straight-through gradient: 1 inside [-1, 1], as if nothing were rounded; 0 outside, where the limit holds.
    """
    return to_float(to_pixels(image))


@round_to_8bit.defjvp
def _straight_through(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (image,), (tangent,) = primals, tangents
    return round_to_8bit(image), jnp.where(jnp.abs(image) <= 1, tangent, 0).astype(image.dtype)


def _numpy_of(array: Any) -> ModuleType:
    return jnp if isinstance(array, jax.Array) else np
