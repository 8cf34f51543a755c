"""The safetensors format: eight bytes of header length, a JSON header, then the numbers.

The header maps each name to {"dtype", "shape", "data_offsets": [begin, end]}, in bytes from the end of the
header. Source: the format section of the README of github.com/huggingface/safetensors.
"""

import json
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from latentfp.checkpoints.builders import expect
from latentfp.checkpoints.mapped import check_shape, numbers

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": jnp.bfloat16, "BOOL": "?",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip
MAX_HEADER = 100_000_000  # bytes; the limit of the public implementation


def looks_like_safetensors(start: bytes) -> bool:
    """Whether a file that begins with these nine bytes can be one."""
    return start[8:9] == b"{"


def read(buffer: memoryview) -> dict[str, np.ndarray]:
    """Every tensor by its name, as read-only views of `buffer`. Raises ValueError for a damaged file."""
    length = int.from_bytes(buffer[:8], "little")
    if length > min(MAX_HEADER, len(buffer) - 8):
        raise ValueError(f"it is truncated or damaged: it declares a header of {length} bytes")
    try:
        header = expect(json.loads(bytes(buffer[8 : 8 + length])), dict)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is damaged: {error}") from error
    data = buffer[8 + length :]
    return {name: _tensor(data, name, entry) for name, entry in header.items() if name != "__metadata__"}


def _tensor(data: memoryview, name: str, entry: Any) -> np.ndarray:
    try:
        dtype, shape, (begin, end) = np.dtype(DTYPES[entry["dtype"]]), entry["shape"], entry["data_offsets"]
        check_shape(shape)
        flat = numbers(data, dtype, begin, math.prod(shape))
    except (LookupError, TypeError) as error:
        raise ValueError(f"its entry for {name:.100} is damaged: {error}") from error
    if end != begin + flat.nbytes:
        raise ValueError(f"its entry for {name:.100} declares {flat.nbytes} bytes, but another range")
    return flat.reshape(shape)
