"""Writes small files in PyTorch's two formats, and pickles of any content, with the standard library."""

import math
import pickle
import struct
import zipfile
from typing import Any, NamedTuple

import numpy as np

KIND = {
    "f4": "Float", "f8": "Double", "f2": "Half", "bfloat16": "BFloat16", "b1": "Bool",
    "i8": "Long", "i4": "Int", "i2": "Short", "i1": "Char", "u1": "Byte",
}  # fmt: skip
MAGIC = 0x1950A86A20F9469CFC6C
RECONSTRUCT = "torch_utils.persistence._reconstruct_persistent_obj"
LOAD = "torch.storage._load_from_bytes"


class Name(NamedTuple):
    """A global, by its full path."""

    path: str


class Call(NamedTuple):
    """A call of a global."""

    path: str
    arguments: tuple[Any, ...] = ()


class State(NamedTuple):
    """An object, then the state that a pickle gives it."""

    value: Any
    state: Any


class External(NamedTuple):
    """A persistent identity."""

    identity: tuple[Any, ...]


class Raw(NamedTuple):
    """Instructions as they are."""

    code: bytes


def tensor(key, array, *, offset=0, shape=None, strides=None, count=None, place="cpu") -> Call:
    """The tensor that a torch file describes for `array`, the whole storage called `key`."""
    code = array.dtype.name if array.dtype.name == "bfloat16" else array.dtype.str[1:]
    kind = Name(f"torch{'.cuda' if place.startswith('cuda') else ''}.{KIND[code]}Storage")
    identity = ("storage", kind, key, place, array.size if count is None else count)
    shape = array.shape if shape is None else shape
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))] if strides is None else strides
    hooks = Call("collections.OrderedDict")
    arguments = (External(identity), offset, tuple(shape), tuple(strides), False, hooks)
    return Call("torch._utils._rebuild_tensor_v2", arguments)


def dump(value: Any) -> bytes:
    """A protocol-2 pickle of plain values and of the records above."""
    return b"\x80\x02" + _code(value) + b"."


def _code(value: Any) -> bytes:
    match value:
        case Name(path):
            module, _, name = path.rpartition(".")
            return f"c{module}\n{name}\n".encode()
        case Call(path, arguments):
            return _code(Name(path)) + _code(tuple(arguments)) + b"R"
        case State(inner, state):
            return _code(inner) + _code(state) + b"b"
        case External(identity):
            return _code(tuple(identity)) + b"Q"
        case Raw(code):
            return code
        case _:
            return _plain(value)


def _plain(value: Any) -> bytes:
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_code, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(_code, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(_code(key) + _code(item) for key, item in value.items()) + b"u"
    return pickle.dumps(value, 3)[2:-1]


def write_zip(path, value, storages, *, root="archive", byteorder=b"little", compression=zipfile.ZIP_STORED):
    """The format of PyTorch 1.6 and later; `value` is a tree for `dump` or a finished pickle."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{root}/data.pkl", value if isinstance(value, bytes) else dump(value))
        archive.writestr(f"{root}/byteorder", byteorder)
        for key, array in storages.items():
            archive.writestr(f"{root}/data/{key}", array.tobytes())
    return path


def write_tree(path, tree):
    """Nested dictionaries of arrays and plain values, as `torch.save` writes them; a storage an array."""
    storages = {}

    def described(value):
        if isinstance(value, dict):
            return {name: described(one) for name, one in value.items()}
        if not isinstance(value, np.ndarray | np.generic):
            return value
        key = str(len(storages))
        storages[key] = np.array(value, order="C")
        return tensor(key, storages[key])

    return write_zip(path, described(tree), storages)


def legacy(value, storages, *, magic=MAGIC, little=True) -> bytes:
    """The older format."""
    body = value if isinstance(value, bytes) else dump(value)
    parts = [dump(magic), dump(1001), dump({"little_endian": little}), body, dump(list(storages))]
    for array in storages.values():
        parts += [struct.pack("<q", array.size), array.tobytes()]
    return b"".join(parts)


def stored(array):
    """A tensor as these pickles hold it: its storage is a byte string in PyTorch's older format."""
    described = tensor("0", array)
    storage = Call(LOAD, (legacy(described.arguments[0], {"0": array}),))
    return Call(described.path, (storage, *described.arguments[1:]))


def module(*, parameters=None, buffers=None, modules=None, source="", **attributes):
    state = {"_parameters": parameters or {}, "_buffers": buffers or {}, "_modules": modules or {}}
    state |= {"training": False, "_non_persistent_buffers_set": Raw(b"\x8f"), **attributes}
    record = {"type": "class", "version": 6, "module_src": source, "class_name": "Net", "state": state}
    return Call(RECONSTRUCT, (record,))


def nvidia_network(tensors, settings):
    """A network with these parameters and plain attributes, by dotted path, as nested modules."""
    inner = {name.partition(".")[0] for name in [*tensors, *settings] if "." in name}

    def below(flat, name):
        return {key.removeprefix(f"{name}."): x for key, x in flat.items() if key.startswith(f"{name}.")}

    return module(
        parameters={name: stored(x) for name, x in tensors.items() if "." not in name},
        modules={name: nvidia_network(below(tensors, name), below(settings, name)) for name in sorted(inner)},
        **{name: x for name, x in settings.items() if "." not in name},
    )
