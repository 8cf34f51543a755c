"""An affine map of the latents, built into the affine layers that turn latents into styles.

    style = K ᵀ(w - VᵀV w + o) + c  =  ((I - VᵀV) K)ᵀ w + (c + Kᵀ o)

so the synthesis network computes for every w what it would for the mapped one, and it is an ordinary network.
Source: METHOD.md §2.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from latentfp.types import Params


def fold(synthesis: Params, axes: Float[np.ndarray, "k d"], offset: Float[np.ndarray, " d"]) -> Params:
    """The weights of a synthesis network that first takes away `axes` and adds `offset`."""
    return {name: _folded(name, part, axes, offset) for name, part in synthesis.items()}


def _folded(name: str, part: Any, axes: np.ndarray, offset: np.ndarray) -> Any:
    if name == "affine":
        kernel, bias = (np.asarray(part[leaf], np.float64) for leaf in ("kernel", "bias"))
        moved = bias + offset @ kernel / math.sqrt(len(kernel))  # the equalised learning rate
        return {"kernel": np.float32(kernel - axes.T @ (axes @ kernel)), "bias": np.float32(moved)}
    if isinstance(part, Mapping):
        return {inner: _folded(inner, value, axes, offset) for inner, value in part.items()}
    return part
