"""Tensors of PyTorch and safetensors files as NumPy arrays, and back, without PyTorch, running nothing.

Three containers are read, told apart by their first bytes:
* zip (PyTorch 1.6 and later): a pickle `*/data.pkl`, and one member `*/data/KEY` for each storage;
* the older one: pickles of a magic number, a version, the system, the object and the storage keys, then the
  storages in that order;
* safetensors: eight bytes of header length, a JSON header that maps each name to {"dtype", "shape",
  "data_offsets": [begin, end]} in bytes from the end of the header, then the numbers. Source: the format
  section of the README of github.com/huggingface/safetensors.

A tensor is a storage with an offset, a shape and strides. The file is mapped into memory and every array is a
read-only view of it, so files larger than the memory can be read and tensors that share a storage still do.
Other files that are often met in place of weights are refused by what they are.

Written is the first container, for `torch.load` with weights only: a pickle of protocol 2 holds the
dictionaries; a tensor is a call of `torch._utils._rebuild_tensor_v2` on a storage, which lies in a member of
its own. Strings, numbers and tuples are written by `pickle` itself.
"""

import functools
import io
import json
import math
import mmap
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.lib.stride_tricks import as_strided

from latentfp.checkpoints.pickles import PLAIN, Builders, Name, expect, load
from latentfp.runtime.files import printable, replacing

PathLike = str | os.PathLike[str]
Tree = Mapping[str, Any]  # of names to arrays, plain values or such mappings

KINDS = {
    "Double": "<f8", "Float": "<f4", "Half": "<f2", "BFloat16": jnp.bfloat16, "Bool": "?",
    "Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1",
}  # fmt: skip
STORAGES = {
    f"torch.{at}{kind}Storage": np.dtype(code) for kind, code in KINDS.items() for at in ("", "cuda.")
}
SAFETENSORS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": jnp.bfloat16, "BOOL": "?",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip
WRITTEN = {"float32": "FloatStorage", "float16": "HalfStorage"}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
BIG_ENDIAN = "it was written on a big-endian machine, which is not supported: save it again on another"
MAX_HEADER = 100_000_000  # bytes of a safetensors header; the limit of the public implementation
MAX_DEPTH = 64
MAX_NODES = 200_000
MAX_DIMENSIONS = 32
MAX_REPEATED = 2**20  # elements of a tensor that repeats its storage through a zero stride

WEB_PAGE = (
    "it is a web page, saved in place of the file (servers send one for a login, a quota or a virus "
    "warning): open it in a browser to see why, and download the file again"
)
# What is met in place of weights, by the first bytes in lower case, and the way out.
MISTAKEN = {
    b"version https://git-lfs": "it is a pointer of Git LFS, not the file that it stands for: fetch that "
    "with `git lfs pull`, or download it from the repository's page",
    b"<!doctype": WEB_PAGE,
    b"<html": WEB_PAGE,
    b"\x1f\x8b": "it is compressed with gzip: unpack it and import what is inside",
    b"7z\xbc\xaf": "it is a 7z archive: unpack it and import what is inside",
    b"rar!": "it is a RAR archive: unpack it and import what is inside",
    b"\x89hdf": "it is an HDF5 file (of Keras or flaxmodels), which is not read: import the PyTorch file "
    "that it was made from",
}


def rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> np.ndarray:
    """The view of a storage [n] with this offset, shape and strides, all in elements."""
    if expect(storage, np.ndarray).ndim != 1:
        raise ValueError("it is damaged: a tensor has a storage that is no plain row of numbers")
    for sizes in (expect(shape, tuple), expect(strides, tuple), (offset,)):
        _check_shape(sizes)
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


BUILDERS: Builders = {
    **PLAIN,
    **dict.fromkeys(STORAGES),
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch.Size": lambda sizes: expect(sizes, tuple),
    "torch.device": lambda *_: None,
    # Public latent-diffusion checkpoints use this class as a dictionary key.
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint": None,
}


def read_tensors(path: PathLike) -> Any:
    """What a .pt, .pth, .ckpt, .bin or .safetensors file holds: dictionaries, lists, numbers, text, arrays.

    Arrays are read-only views of the mapped file. Raises ValueError, with the path and the reason, for a file
    that is damaged, has another format, or asks for a name that weights do not need. Nothing is executed.
    """
    with opened(path) as mapped:
        start = mapped[:9]
        if start[8:] == b"{":
            return _read_safetensors(memoryview(mapped))
        if start.startswith(b"PK\3\4"):
            return _read_zip(path, mapped)
        if start.startswith(b"\x80"):
            return read_legacy(mapped)
        raise ValueError("it is no PyTorch or safetensors file")


def is_legacy(start: bytes) -> bool:
    """Whether a file that begins with these 14 bytes is in PyTorch's older format: a pickle of its number."""
    number = LEGACY_MAGIC.to_bytes(10, "little")
    return start.startswith(b"\x80") and start[2:14] == b"\x8a\x0a" + number


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of nested dictionaries and lists by their dotted path; other leaves are left out."""
    arrays: dict[str, np.ndarray] = {}
    todo: list[tuple[str, int, Any]] = [("", 0, tree)]
    for path, depth, node in todo:
        if isinstance(node, np.ndarray):
            if path in arrays:
                raise ValueError(f"two arrays are called {path}")
            arrays[path] = node
        elif isinstance(node, dict | list | tuple):
            items = node.items() if isinstance(node, dict) else enumerate(node)
            todo += [(f"{path}.{key}" if path else str(key), depth + 1, value) for key, value in items]
        if depth > MAX_DEPTH or len(todo) > MAX_NODES:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep or has more than {MAX_NODES} parts")
    return arrays


def read_legacy(buffer: bytes | mmap.mmap) -> Any:
    """The object of a file in PyTorch's older format.

    Its pickle is followed twice, because only what it declares tells where each storage lies behind it.
    """
    stream = io.BytesIO(buffer) if isinstance(buffer, bytes) else buffer
    if load(stream, {}) != LEGACY_MAGIC:
        raise ValueError("it is a pickle, but not one of PyTorch")
    load(stream, {})
    if expect(load(stream, {}), dict).get("little_endian") is not True:
        raise ValueError(BIG_ENDIAN)
    start = stream.tell()
    declared: dict[str, tuple[np.dtype, int]] = {}

    def declare(identity: tuple[Any, ...]) -> np.ndarray:
        dtype, key, count = _describe(identity)
        declared[key] = dtype, count
        return np.broadcast_to(np.zeros((), dtype), (count,))

    load(stream, BUILDERS, declare)
    keys = expect(load(stream, {}), list)
    storages = _legacy_storages(memoryview(buffer), stream.tell(), keys, declared)
    stream.seek(start)
    return load(stream, BUILDERS, lambda identity: storages[_describe(identity)[1]])


def _describe(identity: tuple[Any, ...]) -> tuple[np.dtype, str, int]:
    """Element type, key and length of a storage, from ("storage", type, key, location, length[, None])."""
    if len(identity) not in (5, 6) or identity[0] != "storage" or identity[5:] not in ((), (None,)):
        raise ValueError("it refers to data outside its pickle of an unknown kind")
    _, kind, key, _, count = identity[:5]
    if expect(count, int) < 0:
        raise ValueError(f"it declares a storage of {count} elements")
    return STORAGES[expect(kind, Name).path], expect(key, str), count


def _legacy_storages(
    buffer: memoryview, at: int, keys: list[Any], declared: dict[str, tuple[np.dtype, int]]
) -> dict[str, np.ndarray]:
    """The storages from byte `at` on, in the order of `keys`: each an 8-byte count, then the numbers."""
    storages = {}
    for key in keys:
        if expect(key, str) not in declared:
            raise ValueError(f"it is damaged: no tensor uses its storage {key:.100}")
        dtype, count = declared[key]
        if _numbers(buffer, np.dtype("<i8"), at, 1)[0] != count:
            raise ValueError(f"it is damaged: its storage {key:.100} has another length than declared")
        storages[key] = _numbers(buffer, dtype, at + 8, count)
        at += 8 + storages[key].nbytes
    return storages


def _read_zip(path: PathLike, mapped: mmap.mmap) -> Any:
    members = _members(path, len(mapped))

    @functools.cache
    def content(name: str) -> memoryview:
        return _content(memoryview(mapped), members[name])

    def storage(identity: tuple[Any, ...]) -> np.ndarray:
        dtype, key, count = _describe(identity)
        return _numbers(content(f"data/{key}"), dtype, 0, count)

    if "byteorder" in members and content("byteorder") != b"little":
        raise ValueError(BIG_ENDIAN)
    return load(io.BytesIO(content("data.pkl")), BUILDERS, storage)


def _members(path: PathLike, length: int) -> dict[str, zipfile.ZipInfo]:
    """The members by their name below the archive's one folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, RuntimeError, OverflowError, struct.error) as error:
        raise ValueError(f"it is truncated or damaged: {error}") from error
    members = {info.filename.partition("/")[2]: info for info in infos}
    if "data.pkl" not in members or "constants.pkl" in members:
        raise ValueError(_other_archive([info.filename for info in infos]))
    if len(members) != len(infos) or sum(info.file_size for info in infos) > length:
        raise ValueError("it is damaged: its members are larger than the file or have the same name")
    return members


def _other_archive(names: list[str]) -> str:
    """What a zip file with these members is, that is no checkpoint."""
    if any(name.endswith("/constants.pkl") for name in names):
        return "it is a TorchScript program: save the `state_dict()` of its module with `torch.save` instead"
    if names and all(name.endswith(".npy") for name in names):
        return "it is a NumPy archive (.npz), which is not read: import the file that it was made from"
    inside = ", ".join(f"{name:.60}" for name in names[:3]) or "nothing"
    return (
        f"it is a zip file without data.pkl, so no checkpoint; unpack it and import what it holds ({inside})"
    )


def _content(file: memoryview, info: zipfile.ZipInfo) -> memoryview:
    """The bytes of an uncompressed member, whose checksum must be right."""
    if info.compress_type != zipfile.ZIP_STORED or not 0 <= info.header_offset <= len(file) - 30:
        raise ValueError(f"its member {info.filename:.100} is compressed or damaged: save it again")
    name, extra = struct.unpack_from("<HH", file, info.header_offset + 26)
    start = info.header_offset + 30 + name + extra
    raw = file[start : start + info.file_size]
    if len(raw) != info.file_size or zlib.crc32(raw) != info.CRC:
        raise ValueError(f"its member {info.filename:.100} is damaged: the checksum does not match")
    return raw


def _read_safetensors(buffer: memoryview) -> dict[str, np.ndarray]:
    length = int.from_bytes(buffer[:8], "little")
    if length > min(MAX_HEADER, len(buffer) - 8):
        raise ValueError(f"it is truncated or damaged: it declares a header of {length} bytes")
    try:
        header = expect(json.loads(bytes(buffer[8 : 8 + length])), dict)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is damaged: {error}") from error
    data = buffer[8 + length :]
    return {name: _entry(data, name, entry) for name, entry in header.items() if name != "__metadata__"}


def _entry(data: memoryview, name: str, entry: Any) -> np.ndarray:
    try:
        dtype, shape = np.dtype(SAFETENSORS[entry["dtype"]]), entry["shape"]
        begin, end = entry["data_offsets"]
        _check_shape(shape)
        flat = _numbers(data, dtype, begin, math.prod(shape))
    except (LookupError, TypeError) as error:
        raise ValueError(f"its entry for {name:.100} is damaged: {error}") from error
    if end != begin + flat.nbytes:
        raise ValueError(f"its entry for {name:.100} declares {flat.nbytes} bytes, but another range")
    return flat.reshape(shape)


@contextmanager
def opened(path: PathLike) -> Iterator[mmap.mmap]:
    """The file, mapped read-only. A ValueError raised inside the block gets the file's name put in front.

    ValueError for what is known to be no weights, such as a web page saved in place of a file.
    """
    with open(path, "rb") as file:
        try:
            if not os.fstat(file.fileno()).st_size:
                raise ValueError("it is empty: get it again")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            start = mapped[:64].lower().lstrip()
            for beginning, what in MISTAKEN.items():
                if start.startswith(beginning):
                    raise ValueError(what)
            yield mapped
        except ValueError as error:
            raise ValueError(f"{path}: {printable(str(error))}") from error


def _check_shape(sizes: Sequence[int]) -> None:
    """Refuse what cannot be the shape or the strides of a tensor."""
    if len(sizes) > MAX_DIMENSIONS or any(type(size) is not int or size < 0 for size in sizes):
        raise ValueError("it is damaged: a tensor has a shape or strides that are no whole numbers from 0")


def _numbers(buffer: memoryview, dtype: np.dtype, start: int, count: int) -> np.ndarray:
    """The `count` numbers that begin at byte `start`, as a view [count]; refused outside the buffer."""
    end = start + count * dtype.itemsize
    if not 0 <= start <= end <= len(buffer):
        raise ValueError(f"it is truncated or damaged: {count} numbers of {dtype} do not fit at byte {start}")
    return np.frombuffer(buffer[start:end], dtype) if count else np.empty(0, dtype)


def write_tensors(path: Path, tree: Tree) -> None:
    """Write nested dictionaries of float32 or float16 arrays, numbers, text and None.

    ValueError where the file exists.
    """
    storages: list[np.ndarray] = []
    program = b"\x80\x02" + _dictionary(tree, storages) + b"."
    with replacing(path) as fresh:
        with zipfile.ZipFile(fresh, "x", zipfile.ZIP_STORED) as archive:
            archive.writestr("archive/data.pkl", program)
            archive.writestr("archive/byteorder", b"little")
            for key, array in enumerate(storages):
                archive.writestr(f"archive/data/{key}", array.tobytes())
            archive.writestr("archive/version", b"3\n")
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
    kind = _name("torch", WRITTEN[array.dtype.name])
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
