"""What is compared with an image, and how well each number of it is known.

    z = (O(D(g(w))) - O(x)) / error

Undamaged files are compared pixel by pixel; the error is that of rounding to 8 bits. Damaged ones are
compared after the damage D that is assumed or fitted. Where they went through JPEG, O is the cosine
coefficients that JPEG rounds, and the error of each is its table's; then neither the lost fine detail nor the
blocks are taken for content. Noise adds to all errors.

The smooth strengths of a damage are fitted along: their prior is normal around the assumed ones, with the
standard deviations `SPREAD`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from latentfp.augment import damage
from latentfp.augment.codecs import coefficient_errors, coefficients
from latentfp.augment.damage import Damage
from latentfp.types import Image, Images

ROUNDING = 2 / 255 / math.sqrt(12)  # standard deviation of 8-bit rounding, in units of the range [-1, 1]
# Of the smooth damages, in the coordinates of augment/damage.py: about what a decoder's readings are off by.
SPREAD = (0.2, 0.1, 0.1, 0.1, 0.15, 0.1, 0.1)
SMOOTH = len(SPREAD)
VISIBLE = 0.15  # coordinate of a smooth damage below which a decoder's reading is taken for none
JPEG_BELOW = 95.0  # quality from which a decoder's reading is taken for no JPEG

Distortions = Float[Array, "b m"]  # damages in the coordinates of augment/damage.py
Moves = Float[Array, "b f"]  # of the smooth ones from there, in units of SPREAD
Observed = Float[Array, "b p"]


class Observation(NamedTuple):
    """How images are compared: what is seen `of(image, distortion, move)`, and its `errors`."""

    of: Callable[[Image, Float[Array, " m"], Float[Array, " f"]], Float[Array, " p"]]
    target: Callable[[Image], Float[Array, " p"]]
    errors: Callable[[tuple[int, ...], Float[Array, " m"]], Float[Array, " p"]]
    free: int  # damages that are fitted


def observe(observation: Observation, images: Images, distortions: Distortions, moves: Moves) -> Observed:
    """What would be seen of images [b h w 3] in [-1, 1] after these damages."""
    return jax.vmap(observation.of)(images, distortions, moves)


def _pixels(image: Image) -> Float[Array, " p"]:
    return image.reshape(-1)


def _rounding(shape: tuple[int, ...], distortion: Float[Array, " m"]) -> Float[Array, " p"]:
    del distortion
    return jnp.full((math.prod(shape),), ROUNDING)


def _moved(image: Image, distortion: Float[Array, " m"], move: Float[Array, " f"]) -> Image:
    spread = jnp.asarray(SPREAD)
    moved = jnp.concatenate([distortion[:SMOOTH] + spread * move, distortion[SMOOTH:]])
    return damage.distort(image, damage.from_coordinates(moved))


def _pixels_and_coefficients(image: Image) -> Float[Array, " p"]:
    return jnp.concatenate([_pixels(image), coefficients(image) / 127.5])


def _either_errors(shape: tuple[int, ...], distortion: Float[Array, " m"]) -> Float[Array, " p"]:
    """Infinite for the pixels of a JPEG, and for the coefficients of anything else."""
    known: Damage = damage.from_coordinates(distortion)
    loose = jnp.sqrt(ROUNDING**2 + jnp.square(known.noise))
    coded = is_jpeg(known)
    of_pixels = jnp.where(coded, jnp.inf, jnp.full((math.prod(shape),), loose))
    rounded = coefficient_errors(shape[0], shape[1], quality=known.quality) / 127.5
    of_coefficients = jnp.where(coded, jnp.sqrt(jnp.square(rounded) + jnp.square(loose)), jnp.inf)
    return jnp.concatenate([of_pixels, of_coefficients])


def is_jpeg(known: Damage) -> Bool[Array, ""]:
    """Whether a damage includes JPEG."""
    return jnp.asarray(known.quality) < JPEG_BELOW


def is_damaged(distortions: Float[np.ndarray, "b m"]) -> Bool[np.ndarray, " b"]:
    """Whether images must be compared as damaged: geometry, blur, tone or JPEG, but not for noise alone."""
    coded = damage.from_coordinates(distortions.T).quality < JPEG_BELOW
    return np.any(np.abs(distortions[:, :SMOOTH]) > VISIBLE, axis=1) | np.asarray(coded)


UNDAMAGED = Observation(lambda image, _distortion, _move: _pixels(image), _pixels, _rounding, 0)
DAMAGED = Observation(
    lambda image, distortion, move: _pixels_and_coefficients(_moved(image, distortion, move)),
    _pixels_and_coefficients,
    _either_errors,
    SMOOTH,
)
