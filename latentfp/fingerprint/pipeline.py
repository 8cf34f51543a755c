"""Writing codes into latents that another program made, and reading them back: NumPy in, NumPy out.

Any pipeline that decodes latents can be fingerprinted: take its latents just before they are decoded, write
the code of a user, decode what comes back. Latents are [n, …] of any shape with d numbers each, for example
maps [n, c, h, w] as PyTorch keeps them; they are flattened in that order, channel, row, column, which must be
the order of the samples that the basis was fitted to (`latents.reshape(n, -1)`).

    codes = draw_codes(seed, users, bits=64)                                      # [users 64]
    marked = embed_many(space, latents, codes[3], sigma=1.0, coding=Coding.ANTIPODAL)
    found = read_many(space, encoded, sigma=1.0, coding=Coding.ANTIPODAL) > 0     # [n 64]

Only `mean` and `code_axes` of a space are used, so a copy for a user needs no more (see `only_code`).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from latentfp.choices import Coding
from latentfp.fingerprint.basis import Space, coordinates
from latentfp.fingerprint.embed import embed
from latentfp.types import Latents

Maps = Float[np.ndarray, "..."] | Float[Array, "..."]  # [n, …]; shapes are checked with an explanation
Codes = Bool[np.ndarray, "..."]  # [k] or [n k]


def embed_many(
    space: Space, latents: Maps, codes: Codes, *, sigma: float, coding: Coding
) -> Float[np.ndarray, "..."]:
    """The latents with codes in place of their own coordinates along the code axes; float32, a new array.

    `codes` is one code [k] for all, or one for each latent [n k]. `sigma` is in the latents' units. The rest
    of a latent is kept. ValueError for latents of another size than the space's or that are not finite, for
    codes of another shape, and unless sigma > 0.
    """
    flat = _flat(space, latents)
    wanted = (len(flat), space.code_axes.shape[0])
    if codes.shape not in (wanted, wanted[1:]):
        raise ValueError(
            f"got codes of shape {list(codes.shape)}: expected {list(wanted)} or {list(wanted[1:])}, "
            "the bits of this space for every latent or for all"
        )
    _check_sigma(sigma)
    write = jax.vmap(partial(embed, space, sigma=sigma, coding=coding))
    marked = write(flat, jnp.asarray(np.broadcast_to(codes, wanted)))
    return np.array(marked, np.float32).reshape(latents.shape)


def read_many(space: Space, latents: Maps, *, sigma: float, coding: Coding) -> Float[np.ndarray, "n k"]:
    """On which side of undecided each bit is, in units of sigma: ±1/2 in a latent fresh from `embed_many`.

    Above 0 is a set bit, so `read_many(…) > 0` are the codes [n k]. ValueError as for `embed_many`.
    """
    flat = _flat(space, latents)
    _check_sigma(sigma)
    found = jax.vmap(partial(coordinates, space))(flat)
    return np.array(found / sigma + coding.offset - 0.5, np.float32)


def only_code(space: Space) -> Space:
    """The space without its content axes: a few megabytes that suffice to embed and to read."""
    return space._replace(content_axes=space.content_axes[:0], content_stds=space.content_stds[:0])


def _flat(space: Space, latents: Maps) -> Latents:
    d = space.mean.shape[0]
    if latents.ndim < 2 or np.prod(latents.shape[1:]) != d:
        raise ValueError(
            f"got latents of shape {list(latents.shape)}: expected [n, …] with {d} numbers each, "
            "as the samples that this space was fitted to"
        )
    flat = np.asarray(latents, np.float32).reshape(len(latents), d)
    if not np.isfinite(flat).all():
        raise ValueError("got non-finite latents: a code in them would be lost, look for the cause before")
    return jnp.asarray(flat)


def _check_sigma(sigma: float) -> None:
    if not 0 < sigma < np.inf:
        raise ValueError(f"got sigma {sigma}: expected a positive number in the units of the latents")
