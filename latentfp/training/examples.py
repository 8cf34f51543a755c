"""Examples to train a decoder on: images that the generator makes now, damaged, with labels that are exact.

    w₀ ~ prior,  b ~ fair bits,  w = embed(w₀, b),  x = D(g(w)),  D ~ augment/damage.py

with noise maps that are fresh for some of the images. Example i of a step follows from the step's key and i;
only fresh noise maps are drawn for a batch.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from latentfp import rng
from latentfp.augment import damage
from latentfp.choices import Coding
from latentfp.fingerprint.basis import Space
from latentfp.fingerprint.embed import embed
from latentfp.generators.generator import Generator
from latentfp.training import pool as pools
from latentfp.training.pool import Pooled
from latentfp.types import Count, Images, Key, Params


class Examples(NamedTuple):
    """Damaged images and what is to be read from them."""

    images: Images
    content: Float[Array, "b r"]  # in standard deviations
    code: Bool[Array, "b k"]
    damage: Float[Array, "b m"]


class Shares(NamedTuple):
    """Of the examples: without damage, with a mixture of damages, with fresh noise maps.

    Training begins with clean images; after `ramp` steps their share has fallen to `clean`.
    """

    clean: float
    mixed: float
    fresh: float
    ramp: int


class Source(NamedTuple):
    """A marked generator as an endless source of examples."""

    generator: Generator
    params: Params
    space: Space
    sigma: float
    coding: Coding


def draw_examples(
    source: Source,
    key: Key,
    numbers: Int[Array, " b"],
    *,
    shares: Shares,
    step: int | Count,
    latents: Pooled | None = None,
) -> Examples:
    """The examples of these numbers of the stream `key`, as training meets them at `step`.

    `latents`: a pool from which their latents are chosen, if there is one.
    """
    n = numbers.shape[0]
    keys = jax.vmap(lambda number: rng.stream(key, "example", number))(numbers)
    w0 = pools.draw(source.generator, source.params, latents, keys)
    bits = source.space.code_axes.shape[0]
    code = jax.vmap(lambda k: jax.random.bernoulli(rng.stream(k, "code"), 0.5, (bits,)))(keys)
    w = jax.vmap(partial(embed, source.space, sigma=source.sigma, coding=source.coding))(w0, code)
    plain = source.generator.synthesize(_noise(source, key, n, shares.fresh), w)
    damaged = jnp.minimum(1.0, step / max(1, shares.ramp))
    chances = {"clean": 1 - (1 - shares.clean) * damaged, "mixed": shares.mixed * damaged}
    harm = jax.vmap(lambda k: damage.draw(rng.stream(k, "damage"), **chances))(keys)
    images = jax.vmap(lambda k, x, d: damage.inflict(rng.stream(k, "inflict"), x, d))(keys, plain, harm)
    content = (w0 - source.space.mean[None]) @ source.space.content_axes.T / source.space.content_stds[None]
    return Examples(images, content, code, jax.vmap(damage.coordinates)(harm))


def _noise(source: Source, key: Key, n: int, share: float) -> Params:
    """Parameters whose noise maps are fresh for a `share` of the images, where there are noise maps."""
    if source.generator.renoise is None or share == 0:
        return source.params
    fresh = source.generator.renoise(source.params, rng.stream(key, "noise"), n)
    chosen = jax.random.bernoulli(rng.stream(key, "fresh"), share, (n,))

    def mixed(old: Array, new: Array) -> Array:
        if old.shape == new.shape:
            return old
        return jnp.where(chosen.reshape(n, *(1,) * old.ndim), new, old[None])

    return jax.tree.map(mixed, source.params, fresh)
