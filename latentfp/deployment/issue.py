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
from jaxtyping import Array, Bool, Int, UInt8

from latentfp import rng
from latentfp.fingerprint.basis import Space
from latentfp.fingerprint.embed import Coding, Strength, embed
from latentfp.generators.generator import Generator
from latentfp.pixels import to_pixels
from latentfp.types import Key, Params

BATCH = 32


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
    n = len(codes)
    rows = np.minimum(np.arange(-(-n // BATCH) * BATCH), n - 1).reshape(-1, BATCH)
    parts = [
        _issue(
            generator, params, space, jnp.asarray(codes[part]), sigma, coding, key, jnp.asarray(first + part)
        )
        for part in rows
    ]
    plain, marked = (np.concatenate([np.asarray(part[i]) for part in parts])[:n] for i in range(2))
    return Issued(plain, marked)


@partial(jax.jit, static_argnames=("generator", "coding"))
def _issue(
    generator: Generator,
    params: Params,
    space: Space,
    codes: Bool[Array, "b k"],
    sigma: Strength,
    coding: Coding,
    key: Key,
    numbers: Int[Array, " b"],
) -> tuple[UInt8[Array, "b h w 3"], UInt8[Array, "b h w 3"]]:
    def latent(number: Int[Array, ""]) -> Array:
        return generator.sample(params, rng.stream(key, "image", number), 1)[0]

    plain = jax.vmap(latent)(numbers)
    marked = jax.vmap(partial(embed, space, sigma=sigma, coding=coding))(plain, codes)
    return to_pixels(generator.synthesize(params, plain)), to_pixels(generator.synthesize(params, marked))
