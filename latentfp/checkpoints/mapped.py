"""Files mapped into memory, and arrays that are read-only views of them."""

import math
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.lib.stride_tricks import as_strided

PathLike = str | os.PathLike[str]

MAX_DIMENSIONS = 32
MAX_REPEATED = 2**20  # elements of a tensor that repeats its storage through a zero stride


@contextmanager
def opened(path: PathLike) -> Iterator[mmap.mmap]:
    """The file, mapped read-only. A ValueError raised inside the block gets the file's name put in front."""
    with open(path, "rb") as file:
        try:
            yield mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def check_shape(sizes: Sequence[int]) -> None:
    """Refuse what cannot be the shape or the strides of a tensor."""
    if len(sizes) > MAX_DIMENSIONS or any(type(size) is not int or size < 0 for size in sizes):
        raise ValueError(f"it is damaged: a tensor has the shape or strides {sizes[:8]!s:.100}")


def numbers(buffer: memoryview, dtype: np.dtype, start: int, count: int) -> np.ndarray:
    """The `count` numbers that begin at byte `start`, as a view [count]; refused outside the buffer."""
    end = start + count * dtype.itemsize
    if not 0 <= start <= end <= len(buffer):
        raise ValueError(f"it is truncated or damaged: {count} numbers of {dtype} do not fit at byte {start}")
    return np.frombuffer(buffer[start:end], dtype) if count else np.empty(0, dtype)


def strided(storage: np.ndarray, offset: int, shape: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """The view of `storage` [n] with this offset, shape and strides, all in elements."""
    check_shape(shape)
    check_shape(strides)
    check_shape([offset])
    if len(shape) != len(strides):
        raise ValueError(f"it is damaged: a tensor has {len(shape)} axes and {len(strides)} strides")
    count = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if count and last >= storage.size:
        raise ValueError(f"it is damaged: a tensor reaches element {last} of a storage of {storage.size}")
    if count > max(storage.size, MAX_REPEATED):
        raise ValueError(f"it declares a tensor of {count} elements on a storage of {storage.size}")
    step = storage.strides[0]
    return as_strided(storage[offset if count else 0 :], shape, [step * s for s in strides], writeable=False)
