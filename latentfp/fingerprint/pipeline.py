"""Codes in the latents of another program: writing them, reading them back, and a user's copy as a file.

Any pipeline that decodes latents can be fingerprinted: take its latents just before they are decoded, write
the code of a user, decode what comes back. Latents are [n, …] of any shape with d numbers each, for example
maps [n, c, h, w] as PyTorch keeps them; they are flattened in that order, channel, row, column, which must be
the order of the samples that the basis was fitted to (`latents.reshape(n, -1)`). NumPy in, NumPy out.

    codes = draw_codes(seed, users, bits=64)                                      # [users 64]
    marked = embed_many(space, latents, codes[3], sigma=1.0, coding=Coding.ANTIPODAL)
    found = read_many(space, encoded, sigma=1.0, coding=Coding.ANTIPODAL) > 0     # [n 64]

Only `mean` and `code_axes` of a space are used (see `only_code`). A user who has a code of one's own needs
only the affine map that it makes of latents,

    w  ->  w - VᵀV w + offset,    offset = VᵀV mu + sigma Vᵀ level,

whatever a latent had along the code axes V: the `Copy`, which is a file of a few megabytes. Built into a
generator, it marks whatever the generator makes. Source: docs/concepts.md.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float
from safetensors.numpy import save as to_bytes

from latentfp.checkpoints.torch_files import read_tensors
from latentfp.choices import Coding
from latentfp.fingerprint.basis import Space
from latentfp.fingerprint.embed import Bits
from latentfp.runtime.files import replacing

Maps = Float[np.ndarray, "..."] | Float[Array, "..."]  # [n, …]; shapes are checked with an explanation
Codes = Bool[np.ndarray, "..."]  # [k] or [n k]

APPLY = {"apply": "w - (w @ axes.T) @ axes + offset", "order": "channel, row, column"}  # for other programs


def embed_many(
    space: Space, latents: Maps, codes: Codes, *, sigma: float, coding: Coding
) -> Float[np.ndarray, "..."]:
    """The latents with codes in place of their own coordinates along the code axes; float32, a new array.

    `codes` is one code [k] for all, or one for each latent [n k]. `sigma` is in the latents' units. The rest
    of a latent is kept. ValueError for latents of another size than the space's or that are not finite, for
    codes of another shape, and unless sigma > 0.
    """
    flat, axes = _flat(latents, space.mean.size), np.asarray(space.code_axes, np.float64)
    wanted = (len(flat), len(axes))
    if codes.shape not in (wanted, wanted[1:]):
        raise ValueError(
            f"got codes of shape {list(codes.shape)}: expected {list(wanted)} or {list(wanted[1:])}, "
            "the bits of this space for every latent or for all"
        )
    moved = _sigma(sigma) * (np.asarray(codes, np.float64) - coding.offset) - _coordinates(space, flat)
    return (flat + moved @ axes).astype(np.float32).reshape(latents.shape)


def read_many(space: Space, latents: Maps, *, sigma: float, coding: Coding) -> Float[np.ndarray, "n k"]:
    """On which side of undecided each bit is, in units of sigma: ±1/2 in a latent fresh from `embed_many`.

    Above 0 is a set bit, so `read_many(…) > 0` are the codes [n k]. ValueError as for `embed_many`.
    """
    found = _coordinates(space, _flat(latents, space.mean.size)) / _sigma(sigma)
    return (found + coding.offset - 0.5).astype(np.float32)


def only_code(space: Space) -> Space:
    """The space without its content axes: a few megabytes that suffice to embed and to read."""
    return space._replace(content_axes=space.content_axes[:0], content_stds=space.content_stds[:0])


class Copy(NamedTuple):
    """Orthonormal axes of the code's subspace, in any rotation, and the offset within it; float64."""

    axes: Float[np.ndarray, "k d"]
    offset: Float[np.ndarray, " d"]


def copy_for(space: Space, code: Bits, *, sigma: float, coding: Coding) -> Copy:
    """The copy of the user with this code. Its axes are those of the bits: see `rotated`."""
    axes, mean = np.asarray(space.code_axes, np.float64), np.asarray(space.mean, np.float64)
    level = np.asarray(code, np.float64) - coding.offset
    return Copy(axes, (axes @ mean + sigma * level) @ axes)


def rotated(copy: Copy, seed: int) -> Copy:
    """The same map with other axes of the subspace, which do not tell the bits apart."""
    square = np.random.default_rng(seed).standard_normal((len(copy.axes), len(copy.axes)))
    return copy._replace(axes=np.linalg.qr(square)[0] @ copy.axes)


def apply(copy: Copy, latents: Maps) -> Float[np.ndarray, "n ..."]:
    """The latents with the code of the copy, float32, in their shape. ValueError as for `embed_many`."""
    flat = _flat(latents, len(copy.offset))
    marked = flat - flat @ copy.axes.T @ copy.axes + copy.offset
    return marked.astype(np.float32).reshape(latents.shape)


def save(path: Path, copy: Copy) -> None:
    """Write a copy as safetensors, float32, whole or not at all."""
    with replacing(path) as fresh:
        fresh.write_bytes(to_bytes({name: x.astype(np.float32) for name, x in copy._asdict().items()}, APPLY))


def load(path: Path) -> Copy:
    """A copy as `save` wrote it. ValueError, with the path and the reason, for anything else."""
    found = read_tensors(path)
    shapes = {name: np.shape(x) for name, x in found.items()} if isinstance(found, dict) else {}
    axes, offset = shapes.get("axes", ()), shapes.get("offset", ())
    if len(shapes) != 2 or len(axes) != 2 or axes[1:] != offset:
        raise ValueError(f"{path} is no copy: it holds {shapes}, expected axes [k, d] and offset [d]")
    copy = Copy(*(np.asarray(found[name], np.float64) for name in Copy._fields))
    if not np.allclose(copy.axes @ copy.axes.T, np.eye(len(copy.axes)), atol=1e-4):
        raise ValueError(f"{path} is no copy: its axes are not orthonormal")
    return copy


def _coordinates(space: Space, flat: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
    mean, axes = (np.asarray(part, np.float64) for part in (space.mean, space.code_axes))
    return (flat - mean) @ axes.T


def _flat(latents: Maps, d: int) -> Float[np.ndarray, "n d"]:
    if latents.ndim < 2 or np.prod(latents.shape[1:]) != d:
        raise ValueError(
            f"got latents of shape {list(latents.shape)}: expected [n, …] with {d} numbers each, "
            "as the samples that this space was fitted to"
        )
    flat = np.asarray(latents, np.float64).reshape(len(latents), d)
    if not np.isfinite(flat).all():
        raise ValueError("got non-finite latents: a code in them would be lost, look for the cause before")
    return flat


def _sigma(sigma: float) -> float:
    if not 0 < sigma < np.inf:
        raise ValueError(f"got sigma {sigma}: expected a positive number in the units of the latents")
    return sigma
