"""Named random streams: randomness has names, not history.

A run has one typed root key. A draw takes its key from the root by a name and by indices (training step,
global example index), never by splitting the key of an earlier draw. So adding a draw changes no other draw,
resuming needs only the step, and the number of devices cannot change the numbers.
"""

import zlib

import jax
import jax.numpy as jnp
import numpy as np

from latentfp.types import Count, Key


def root(seed: int) -> Key:
    """The root key of a run with this seed of 64 bits. ValueError for any other."""
    if not 0 <= seed < 2**64:
        raise ValueError(f"got seed {seed}, expected 0 … 2^64 - 1")
    words = jnp.asarray(np.array([seed >> 32, seed & 0xFFFFFFFF], np.uint32))
    return jax.random.wrap_key_data(words, impl="threefry2x32")


def stream(key: Key, name: str, *index: int | Count) -> Key:
    """The key of the draw called `name`, at `index` (for instance a step and an example, below 2**31)."""
    for word in (zlib.crc32(name.encode()) & 0x7FFFFFFF, *index):
        key = jax.random.fold_in(key, word)
    return key
