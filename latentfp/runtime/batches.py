"""Work of any size in batches of one size, because every new shape is compiled anew."""

import numpy as np
from jaxtyping import Int


def batches(count: int, size: int) -> Int[np.ndarray, "batches size"]:
    """The numbers 0 … count - 1 in batches; the last is filled up with the last number, again and again.

    Cut what the batches give back to `count`.
    """
    return np.minimum(np.arange(-(-count // size) * size), count - 1).reshape(-1, size)
