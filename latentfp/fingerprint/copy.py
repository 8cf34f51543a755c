"""A user's copy of a generator, as an affine map of its latents.

    w  ->  w - VᵀV w + offset,    offset = VᵀV mu + sigma Vᵀ level

Every latent that goes through it comes out with the user's code, whatever it had along the code axes V. So
built into a generator, it marks whatever the generator makes.
Source: METHOD.md §2.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from latentfp.fingerprint.basis import Space
from latentfp.fingerprint.embed import Bits, Coding


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


def apply(copy: Copy, w: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """The latents with the code of the copy, float32."""
    wide = np.asarray(w, np.float64)
    return (wide - wide @ copy.axes.T @ copy.axes + copy.offset).astype(np.float32)
