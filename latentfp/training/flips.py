"""Mirrored images, for data that have no left and right."""

import jax
import jax.numpy as jnp

from latentfp import rng
from latentfp.types import Images, Key


def flipped(key: Key, real: Images, *, flip: bool = True) -> Images:
    """Half of the images mirrored, if the data allow it."""
    if not flip:
        return real
    mirrored = jax.random.bernoulli(rng.stream(key, "flip"), 0.5, (real.shape[0], 1, 1, 1))
    return jnp.where(mirrored, real[:, :, ::-1], real)
