"""Many images × starts through one compiled program, within a memory budget.

A chunk is a fixed number of images times a fixed number of their starts. The last of each is filled up with
copies, whose results are dropped, so that no program is ever compiled for a remainder.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, Shaped

Block = Shaped[Array, "..."]


def chunk_shape(images: int, starts: int, *, pairs: int, multiple: int) -> tuple[int, int]:
    """How many images, and how many starts of each, make a chunk of at most `pairs` pairs.

    All starts of an image go together where they fit, else in equal parts. The number of images is a multiple
    of `multiple`, even where that many do not fit.
    """
    parts = math.ceil(starts / pairs)
    columns = math.ceil(starts / parts)
    groups = min(math.ceil(images / multiple), max(1, pairs // (columns * multiple)))
    return groups * multiple, columns


def map_chunks(
    function: Callable[[Block, Block, int], PyTree[Any]],
    targets: Block,
    starts: Block,
    *,
    rows: int,
    columns: int,
) -> PyTree[Any]:
    """The results [b s …] of `function(targets [rows …], starts [rows columns …], pairs)` on all chunks.

    `pairs` counts the pairs of a chunk that are no filling. No pair may depend on another.
    """

    def over_starts(first: int) -> PyTree[Any]:
        some = targets[first : first + rows]
        parts = [
            chunk(some, starts[first : first + rows, i : i + columns])
            for i in range(0, starts.shape[1], columns)
        ]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *parts)

    def chunk(some: Block, some_starts: Block) -> PyTree[Any]:
        count, width = some_starts.shape[:2]
        filled = _filled(_filled(some_starts, columns, axis=1), rows, axis=0)
        found = function(_filled(some, rows, axis=0), filled, count * width)
        return jax.tree.map(lambda leaf: leaf[:count, :width], found)

    parts = [over_starts(first) for first in range(0, targets.shape[0], rows)]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _filled(block: Block, size: int, *, axis: int) -> Block:
    return jnp.take(block, jnp.minimum(jnp.arange(size), block.shape[axis] - 1), axis=axis)
