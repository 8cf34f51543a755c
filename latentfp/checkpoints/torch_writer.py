"""Tensors into PyTorch's format (zip, 1.6 and later), without PyTorch, for `torch.load` with weights only.

A pickle of protocol 2 holds the dictionaries; a tensor is a call of `torch._utils._rebuild_tensor_v2` on a
storage, which lies in a member of its own. Strings, numbers and tuples are written by `pickle` itself.
"""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from latentfp.runtime.files import replacing

Tree = Mapping[str, Any]  # of names to arrays, plain values or such mappings

ROOT = "archive"
FORMAT_VERSION = b"3\n"
KINDS = {"float32": "FloatStorage", "float16": "HalfStorage"}


def write_tensors(path: Path, tree: Tree) -> None:
    """Write nested dictionaries of float32 or float16 arrays, numbers, text and None.

    ValueError where the file exists.
    """
    storages: list[np.ndarray] = []
    program = b"\x80\x02" + _dictionary(tree, storages) + b"."
    with replacing(path) as fresh:
        with zipfile.ZipFile(fresh, "x", zipfile.ZIP_STORED) as archive:
            archive.writestr(f"{ROOT}/data.pkl", program)
            archive.writestr(f"{ROOT}/byteorder", b"little")
            for key, array in enumerate(storages):
                archive.writestr(f"{ROOT}/data/{key}", array.tobytes())
            archive.writestr(f"{ROOT}/version", FORMAT_VERSION)
        if path.exists():
            raise ValueError(f"{path} exists and nothing is overwritten: choose another name")


def _dictionary(tree: Tree, storages: list[np.ndarray]) -> bytes:
    items = b"".join(_plain(name) + _value(value, storages) for name, value in tree.items())
    return b"}(" + items + b"u"


def _value(value: Any, storages: list[np.ndarray]) -> bytes:
    if isinstance(value, Mapping):
        return _dictionary(value, storages)
    return _tensor(value, storages) if isinstance(value, np.ndarray) else _plain(value)


def _tensor(array: Float[np.ndarray, "..."], storages: list[np.ndarray]) -> bytes:
    storages.append(np.array(array, order="C"))
    kind = _name("torch", KINDS[array.dtype.name])
    identity = [_plain("storage"), kind, _plain(str(len(storages) - 1)), _plain("cpu"), _plain(array.size)]
    strides = tuple(step // array.itemsize for step in storages[-1].strides)
    hooks = _name("collections", "OrderedDict") + b")R"
    arguments = [_tuple(identity) + b"Q", _plain(0), _plain(array.shape), _plain(strides), b"\x89", hooks]
    return _name("torch._utils", "_rebuild_tensor_v2") + _tuple(arguments) + b"R"


def _name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _tuple(parts: list[bytes]) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def _plain(value: str | int | float | tuple[int, ...] | None) -> bytes:
    """The instructions for a plain value, without the frame of a whole pickle."""
    return pickle.dumps(value, 2)[2:-1]
