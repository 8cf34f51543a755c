"""safetensors files: those of the public writer, and broken ones written by hand."""

import json
import struct
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from latentfp.checkpoints.torch_files import read_tensors


def test_safetensors_agree_with_the_public_writer(tmp_path):
    arrays = {
        "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "half": np.arange(3, dtype=np.float16),
        "count": np.array(5, dtype=np.int64),
        "none": np.zeros((0, 2), np.float32),
    }
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(arrays, path, metadata={"format": "pt"})
    read = read_tensors(path)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def _safetensors(path, header, data=bytes(8), *, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def test_safetensors_in_bfloat16(tmp_path):
    array = np.array([1.5, -2.0], jnp.bfloat16)
    header = {"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    read = read_tensors(_safetensors(tmp_path / "w.safetensors", header, array.tobytes()))["w"]
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def entry(dtype: Any = "F32", shape=(2,), begin: Any = 0, end: Any = 8):
    return {"w": {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}}


BROKEN_HEADERS = {
    "beyond the end": entry(shape=(3,), end=12),
    "negative begin": entry(begin=-8, end=0),
    "end before begin": entry(begin=8, end=0),
    "another size than the shape": entry(shape=(1,)),
    "negative shape": entry(shape=(-2,)),
    "huge shape": entry(shape=(2**40, 2**40)),
    "many axes": entry(shape=(1,) * 1000),
    "shape is text": {"w": {"dtype": "F32", "shape": "2", "data_offsets": [0, 8]}},
    "unknown type": entry(dtype="F128"),
    "type is a list": entry(dtype=["F32"]),
    "offsets are text": entry(begin="0", end="8"),
    "no offsets": {"w": {"dtype": "F32", "shape": [2]}},
    "entry is a list": {"w": [1, 2]},
    "not JSON": b"{not json",
    "not text": b"{\xff\xff\xff",
    "deep": b'{"w":' + b"[" * 100_000,
}


@pytest.mark.parametrize("name", BROKEN_HEADERS)
def test_broken_safetensors_are_one_clear_error(tmp_path, name):
    with pytest.raises(ValueError, match=r"w\.safetensors: it"):
        read_tensors(_safetensors(tmp_path / "w.safetensors", BROKEN_HEADERS[name]))


def test_a_safetensors_header_of_impossible_length(tmp_path):
    with pytest.raises(ValueError, match="declares a header of"):
        read_tensors(_safetensors(tmp_path / "w.safetensors", entry(), length=2**60))
