"""A user's copy as a map of latents, for programs that decode latents of their own: what it does, its file.

A user's code is a constant along the code's axes V, whatever a latent had there,

    w  ->  w - VᵀV w + offset,    offset = VᵀV mu + sigma Vᵀ level,

so the map is all that a copy needs: a file of a few megabytes, with no other user's code. Its axes are
rotated at random and do not tell the bits apart. Latents are flattened in the order channel, row, column.
Built into a generator, the map marks whatever the generator makes. Source: docs/concepts.md.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float
from safetensors import safe_open
from safetensors.numpy import save as to_bytes

from latentfp.checkpoints.torch_files import read_tensors
from latentfp.choices import Coding
from latentfp.fingerprint.basis import Space
from latentfp.fingerprint.embed import Bits
from latentfp.runtime.files import replacing

Maps = Float[np.ndarray, "..."] | Float[Array, "..."]  # [n, …]; shapes are checked with an explanation

APPLY = {"apply": "w - (w @ axes.T) @ axes + offset", "order": "channel, row, column"}  # for other programs


class LatentFormat(NamedTuple):
    """Of one latent: its shape, [channels, rows, columns], where it is known; and the units z of the decoder,
    w = (z - shift) · scale."""

    shape: tuple[int, ...] = ()
    scale: float = 1.0
    shift: float = 0.0


class Copy(NamedTuple):
    """Orthonormal axes of the code's subspace, in any rotation, and the offset within it; float64."""

    axes: Float[np.ndarray, "k d"]
    offset: Float[np.ndarray, " d"]
    latent: LatentFormat = LatentFormat()


def copy_for(space: Space, code: Bits, *, sigma: float, coding: Coding) -> Copy:
    """The copy of the user with this code. Its axes are those of the bits: see `rotated`."""
    axes, mean = np.asarray(space.code_axes, np.float64), np.asarray(space.mean, np.float64)
    level = np.asarray(code, np.float64) - coding.offset
    return Copy(axes, (axes @ mean + sigma * level) @ axes)


def rotated(copy: Copy, seed: int) -> Copy:
    """The same map with other axes of the subspace, which do not tell the bits apart."""
    square = np.random.default_rng(seed).standard_normal((len(copy.axes), len(copy.axes)))
    return copy._replace(axes=np.linalg.qr(square)[0] @ copy.axes)


def for_decoder(copy: Copy) -> Copy:
    """The same map of latents in the decoder's own units."""
    _, scale, shift = copy.latent
    moved = copy.axes.T @ copy.axes.sum(axis=1) * shift
    return copy._replace(offset=copy.offset / scale + moved, latent=LatentFormat(copy.latent.shape))


def apply(copy: Copy, latents: Maps) -> Float[np.ndarray, "n ..."]:
    """The latents [n, …] with the code of the copy, float32, in their shape; each as if it were alone.

    ValueError for latents of another size than the copy's, or that are not finite.
    """
    d = len(copy.offset)
    if latents.ndim < 2 or np.prod(latents.shape[1:]) != d:
        raise ValueError(
            f"got latents of shape {list(latents.shape)}: expected {_expected(copy)}, "
            "as the latents that the deployment was fitted to"
        )
    flat = np.asarray(latents, np.float64).reshape(len(latents), d)
    if not np.isfinite(flat).all():
        raise ValueError("got non-finite latents: a code in them would be lost, look for the cause before")
    marked = [row - (copy.axes @ row) @ copy.axes + copy.offset for row in flat]
    return np.asarray(marked, np.float32).reshape(latents.shape)


def _expected(copy: Copy) -> str:
    if copy.latent.shape:
        return f"{['n', *copy.latent.shape]}".replace("'", "")
    return f"[n, …] with {len(copy.offset)} numbers each"


def save(path: Path, copy: Copy) -> None:
    """Write a copy as safetensors, float32, whole or not at all."""
    tensors = {name: np.ascontiguousarray(getattr(copy, name), np.float32) for name in ("axes", "offset")}
    layout = {name: json.dumps(value) for name, value in copy.latent._asdict().items()}
    with replacing(path) as fresh:
        fresh.write_bytes(to_bytes(tensors, {**APPLY, **layout}))


def load(path: Path) -> Copy:
    """A copy as `save` wrote it. ValueError, with the path and the reason, for anything else."""
    found = read_tensors(path)
    shapes = {name: np.shape(x) for name, x in found.items()} if isinstance(found, dict) else {}
    axes, offset = shapes.get("axes", ()), shapes.get("offset", ())
    if len(shapes) != 2 or len(axes) != 2 or axes[1:] != offset:
        raise ValueError(f"{path} is no copy: it holds {shapes}, expected axes [k, d] and offset [d]")
    axes, offset = (np.asarray(found[name], np.float64) for name in ("axes", "offset"))
    copy = Copy(axes, offset, _latent_format(path))
    if not np.allclose(copy.axes @ copy.axes.T, np.eye(len(copy.axes)), atol=1e-4):
        raise ValueError(f"{path} is no copy: its axes are not orthonormal")
    if copy.latent.shape and np.prod(copy.latent.shape) != len(copy.offset):
        raise ValueError(f"{path} is no copy: it is of {len(copy.offset)} numbers and {copy.latent.shape}")
    return copy


def _latent_format(path: Path) -> LatentFormat:
    with safe_open(path, "np") as file:
        said = file.metadata() or {}
    try:
        found = {name: json.loads(said[name]) for name in LatentFormat._fields if name in said}
        shape = tuple(int(size) for size in found.pop("shape", ()))
        return LatentFormat(shape, **{name: float(value) for name, value in found.items()})
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is no copy: its header is damaged ({error})") from error
