"""A user's copy of a generator, as an affine map of its latents.

    w  ->  w - VᵀV w + offset,    offset = VᵀV mu + sigma Vᵀ level

Every latent that goes through it comes out with the user's code, whatever it had along the code axes V. So
built into a generator, it marks whatever the generator makes.
Source: METHOD.md §2.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from safetensors.numpy import save_file

from latentfp.checkpoints.torch_files import read_tensors
from latentfp.choices import Coding
from latentfp.fingerprint.basis import Space
from latentfp.fingerprint.embed import Bits
from latentfp.runtime.files import replacing

APPLY = {"apply": "w - (w @ axes.T) @ axes + offset", "order": "channel, row, column"}  # for other programs


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


def apply(copy: Copy, latents: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n ..."]:
    """The latents with the code of the copy, float32, in their shape; they are flattened as they lie.

    ValueError for latents of another size than the copy's.
    """
    d = len(copy.offset)
    if latents.ndim < 2 or latents[0].size != d:
        raise ValueError(f"got latents of shape {list(latents.shape)}, expected [n, …] with {d} numbers each")
    flat = np.asarray(latents, np.float64).reshape(len(latents), d)
    marked = flat - flat @ copy.axes.T @ copy.axes + copy.offset
    return marked.astype(np.float32).reshape(latents.shape)


def save(path: Path, copy: Copy) -> None:
    """Write a copy as safetensors, float32, whole or not at all."""
    with replacing(path) as fresh:
        save_file({name: x.astype(np.float32) for name, x in copy._asdict().items()}, fresh, APPLY)


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
