"""Latents of a prior that is slow to draw from: a pool from which examples choose and that is renewed slowly.

A sample of a latent diffusion takes fifty passes of its denoiser; then drawing contents would cost more
than all else in the training of a decoder. The pool is part of the training's state, so a resumed run has
the same.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from latentfp import rng
from latentfp.generators.generator import Generator
from latentfp.types import Count, Key, Latents, Params

AT_ONCE = 64  # latents drawn by one call of the prior

Pooled = Float[Array, "p d"]


class Pool(NamedTuple):
    """`size` latents, a multiple of 64, of which 64 are renewed every `every` steps; 0: no pool."""

    size: int = 0
    every: int = 1


NO_POOL = Pool()


def fill(pool: Pool, generator: Generator, params: Params, key: Key) -> Pooled:
    """A pool of new latents. ValueError for a size that is no multiple of 64."""
    if pool.size % AT_ONCE or pool.size < 1 or pool.every < 1:
        raise ValueError(f"got {pool}, expected a size that {AT_ONCE} divides, renewed every 1 or more steps")
    keys = jax.vmap(lambda i: rng.stream(key, "pool", i))(jnp.arange(pool.size // AT_ONCE))
    parts = jax.lax.map(lambda one: generator.sample(params, one, AT_ONCE), keys)
    return parts.reshape(pool.size, generator.latent_dim)


def renew(pool: Pool, generator: Generator, params: Params, latents: Pooled, key: Key, step: Count) -> Pooled:
    """The pool with its 64 oldest latents drawn anew."""
    place = (step // pool.every * AT_ONCE) % pool.size
    new = generator.sample(params, rng.stream(key, "renewed"), AT_ONCE)
    return jax.lax.dynamic_update_slice_in_dim(latents, new, place, axis=0)


def choose(latents: Pooled, key: Key) -> Float[Array, " d"]:
    """One of the pool."""
    return latents[jax.random.randint(rng.stream(key, "latent"), (), 0, latents.shape[0])]


def draw(generator: Generator, params: Params, latents: Pooled | None, keys: Shaped[Array, " b"]) -> Latents:
    """A latent for each of `keys` [b]: from the pool, or from the prior where there is none."""
    if latents is not None:
        return jax.vmap(lambda key: choose(latents, key))(keys)
    return jax.vmap(lambda key: generator.sample(params, rng.stream(key, "latent"), 1)[0])(keys)
