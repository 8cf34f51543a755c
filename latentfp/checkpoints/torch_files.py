"""Tensors of PyTorch checkpoints and safetensors files as NumPy arrays, without PyTorch, running nothing.

Three containers, told apart by their first bytes:
* zip (PyTorch 1.6 and later): a pickle `*/data.pkl`, and one member `*/data/KEY` for each storage;
* the older one: pickles of a magic number, a version, the system, the object and the storage keys, then the
  storages in that order;
* safetensors.

A tensor is a storage with an offset, a shape and strides. The file is mapped into memory and every array is a
read-only view of it, so files larger than the memory can be read and tensors that share a storage still do.
"""

import functools
import io
import mmap
import struct
import zipfile
import zlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from latentfp.checkpoints import safetensors_files
from latentfp.checkpoints.builders import PLAIN, Builders, Name, expect
from latentfp.checkpoints.mapped import PathLike, numbers, opened, strided
from latentfp.checkpoints.pickles import load

KINDS = {
    "Double": "<f8", "Float": "<f4", "Half": "<f2", "BFloat16": jnp.bfloat16, "Bool": "?",
    "Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1",
}  # fmt: skip
STORAGES = {
    f"torch.{at}{kind}Storage": np.dtype(code) for kind, code in KINDS.items() for at in ("", "cuda.")
}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
BIG_ENDIAN = "it was written on a big-endian machine, which is not supported: save it again on another"
MAX_DEPTH = 64
MAX_NODES = 200_000


def rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> np.ndarray:
    """The tensor at `offset` of a storage, shape and strides in elements."""
    return strided(expect(storage, np.ndarray), offset, expect(shape, tuple), expect(strides, tuple))


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
        if safetensors_files.looks_like_safetensors(start):
            return safetensors_files.read(memoryview(mapped))
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
        if numbers(buffer, np.dtype("<i8"), at, 1)[0] != count:
            raise ValueError(f"it is damaged: its storage {key:.100} has another length than declared")
        storages[key] = numbers(buffer, dtype, at + 8, count)
        at += 8 + storages[key].nbytes
    return storages


def _read_zip(path: PathLike, mapped: mmap.mmap) -> Any:
    members = _members(path, len(mapped))

    @functools.cache
    def content(name: str) -> memoryview:
        return _content(memoryview(mapped), members[name])

    def storage(identity: tuple[Any, ...]) -> np.ndarray:
        dtype, key, count = _describe(identity)
        return numbers(content(f"data/{key}"), dtype, 0, count)

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
    if len(members) != len(infos) or sum(info.file_size for info in infos) > length:
        raise ValueError("it is damaged: its members are larger than the file or have the same name")
    if "data.pkl" not in members:
        raise ValueError("it is a zip file without data.pkl, so no PyTorch checkpoint")
    return members


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
