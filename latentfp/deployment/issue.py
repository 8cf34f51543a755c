"""A user's copy at work: images that bear the user's code, and the same images without it.

    w0 ~ prior,    plain = g(w0),    marked = g(w0 - V^T V (w0 - mu) + sigma V^T level(code)),

each rounded to the 8 bits of a file. Image i follows from the key and i alone, so a later batch continues an
earlier one.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from latentfp import rng
from latentfp.fingerprint.basis import Space
from latentfp.fingerprint.embed import Coding, Strength, embed
from latentfp.generators.generator import Generator
from latentfp.pixels import to_pixels
from latentfp.types import Key, Latent, Latents, Params

BATCH, PIXELS = 32, 2**19  # images at once, and the most pixels of all of them if they are more than one


class Issued(NamedTuple):
    """Pixels [n h w 3] of the same latents without and with the code."""

    plain: UInt8[np.ndarray, "n h w 3"]
    marked: UInt8[np.ndarray, "n h w 3"]


def issue(
    generator: Generator,
    params: Params,
    space: Space,
    codes: Bool[np.ndarray, "n k"],
    *,
    sigma: Strength,
    coding: Coding,
    key: Key,
    first: int = 0,
) -> Issued:
    """One image for each row of `codes`: numbers `first`, `first` + 1, … of the stream `key`."""
    w0 = draw_latents(generator, params, key, count=len(codes), first=first)
    return mark_latents(generator, params, space, w0, codes, sigma=sigma, coding=coding)


def batch_of(generator: Generator) -> int:
    """How many images are made at once: the same for any number of them, so that each is always the same."""
    height, width, _ = generator.image_shape
    return max(1, min(BATCH, PIXELS // (height * width)))


def draw_latents(
    generator: Generator, params: Params, key: Key, *, count: int, first: int = 0
) -> Float[np.ndarray, "n d"]:
    """True samples of the prior: numbers `first`, `first` + 1, … of the stream `key`."""
    batches = _batches(count, batch_of(generator))
    parts = [_draw(generator, params, key, jnp.asarray(first + rows)) for rows in batches]
    return np.concatenate([np.asarray(part) for part in parts])[:count]


def mark_latents(
    generator: Generator,
    params: Params,
    space: Space,
    w0: Float[np.ndarray, "n d"],
    codes: Bool[np.ndarray, "n k"],
    *,
    sigma: Strength,
    coding: Coding,
) -> Issued:
    """The images of latents, without and with one code each."""
    parts = [
        _mark(generator, params, space, jnp.asarray(w0[rows]), jnp.asarray(codes[rows]), sigma, coding)
        for rows in _batches(len(codes), batch_of(generator))
    ]
    plain, marked = (np.concatenate([np.asarray(part[i]) for part in parts])[: len(codes)] for i in range(2))
    return Issued(plain, marked)


def _batches(count: int, size: int) -> Int[np.ndarray, "batches b"]:
    """Rows in batches of one size; the last is filled up with copies."""
    return np.minimum(np.arange(-(-count // size) * size), count - 1).reshape(-1, size)


@partial(jax.jit, static_argnames="generator")
def _draw(generator: Generator, params: Params, key: Key, numbers: Int[Array, " b"]) -> Latents:
    def latent(number: Int[Array, ""]) -> Latent:
        return generator.sample(params, rng.stream(key, "image", number), 1)[0]

    return jax.vmap(latent)(numbers)


@partial(jax.jit, static_argnames=("generator", "coding"))
def _mark(
    generator: Generator,
    params: Params,
    space: Space,
    w0: Latents,
    codes: Bool[Array, "b k"],
    sigma: Strength,
    coding: Coding,
) -> tuple[UInt8[Array, "b h w 3"], UInt8[Array, "b h w 3"]]:
    marked = jax.vmap(partial(embed, space, sigma=sigma, coding=coding))(w0, codes)
    return to_pixels(generator.synthesize(params, w0)), to_pixels(generator.synthesize(params, marked))
