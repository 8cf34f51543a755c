"""Work of any size in batches of few sizes, because every new shape is compiled anew."""

from collections.abc import Iterator

import jax
import numpy as np

from latentfp.types import PyTree


def power_of_two(n: int) -> int:
    """The least power of two that is at least n."""
    return 1 << max(0, n - 1).bit_length()


def padded(arrays: PyTree[np.ndarray], size: int) -> PyTree[np.ndarray]:
    """Arrays [n ...] as [size ...]: the last row again and again. Cut results back to n rows."""
    return jax.tree.map(lambda rows: rows[np.minimum(np.arange(size), len(rows) - 1)], arrays)


def spans(n: int, size: int) -> Iterator[slice]:
    """Consecutive slices of n rows, `size` rows each but for the last."""
    return (slice(first, min(n, first + size)) for first in range(0, n, size))
