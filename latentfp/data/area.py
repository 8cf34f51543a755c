"""Shrinking images by averaging areas: every output value is the mean of one square block of input values."""

import numpy as np
from jaxtyping import UInt8


def shrink(pixels: UInt8[np.ndarray, "b h h 3"], size: int) -> UInt8[np.ndarray, "b s s 3"]:
    """Average blocks so that images become `size` × `size`, a divisor of the present; halves round up."""
    batch, height = pixels.shape[:2]
    if size < 1 or height % size:
        raise ValueError(f"got size {size} for {height} x {height} images: choose a divisor of {height}")
    block = height // size
    if block == 1:
        return pixels
    totals = pixels.reshape(batch, size, block, size, block, 3).sum(axis=(2, 4), dtype=np.uint32)
    return ((totals + block**2 // 2) // block**2).astype(np.uint8)
