"""The values that a foreign file may build: plain containers, and NumPy numbers and arrays of plain type.

`PLAIN` lists every name that the reader of pickles knows without being told more. No builder calls, imports
or looks up anything that the file supplies, and what a builder is given is checked before it is used.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
Builders = Mapping[str, Callable[..., Any] | None]


@dataclass(frozen=True, slots=True)
class Name:
    """A listed name as a file mentioned it; `build` is None where it may be mentioned but not called."""

    path: str
    build: Callable[..., Any] | None


def expect(value: Any, kind: type[T]) -> T:
    """`value`, if it is of exactly this type; otherwise ValueError."""
    if type(value) is not kind:
        raise ValueError(f"it holds a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def hashable(key: Any) -> Any:
    """`key`, if it is a number, text or a name. Tuples are refused: hashing deep ones overflows the stack."""
    if not isinstance(key, str | bytes | int | float | Name | None):
        raise ValueError(f"it uses a {type(key).__name__} as a key")
    return key


def fill(target: dict[Any, Any], items: Iterable[Any]) -> dict[Any, Any]:
    """Add (key, value) pairs to a dictionary."""
    for key, value in items:
        target[hashable(key)] = value
    return target


class ElementType:
    """A NumPy element type under construction: "f4", then its byte order. Numbers only, no objects."""

    def __init__(self, code: Any, *_: Any):
        if not isinstance(code, str) or code.lstrip("<>|=")[:1] not in tuple("biufc"):
            raise ValueError("it holds NumPy data that are not plain numbers")
        self.dtype = np.dtype(code)

    def restore(self, state: Any) -> None:
        """Take the byte order from the state of a pickled dtype."""
        order, *structure = expect(state, tuple)[1:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in structure):
            raise ValueError("it holds NumPy data that are not plain numbers")
        self.dtype = self.dtype.newbyteorder(order)


def restore(target: Any, state: Any) -> None:
    """Give an object its state: attributes of a record become items, those of an OrderedDict are dropped."""
    if type(target) is dict:
        fill(target, expect(state, dict).items())
    elif isinstance(target, ElementType):
        target.restore(state)
    elif isinstance(target, np.ndarray):
        _restore_array(target, expect(state, tuple))
    elif type(target) is not OrderedDict:
        raise ValueError(f"it sets the state of a {type(target).__name__}")


def _restore_array(array: np.ndarray, state: tuple[Any, ...]) -> None:
    _, shape, element, fortran, raw = state
    if array.size or array.base is not None:
        raise ValueError("it changes an array that is already filled")
    dtype = expect(element, ElementType).dtype
    checked: Any = (1, expect(shape, tuple), dtype, expect(fortran, bool), expect(raw, bytes))
    array.__setstate__(checked)


def _scalar(element: Any, raw: Any) -> Any:
    return np.frombuffer(expect(raw, bytes), expect(element, ElementType).dtype, count=1)[0]


def _encode(text: Any, encoding: Any) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("it encodes text in another way than latin1")
    return expect(text, str).encode("latin1")


def _set(items: Any = ()) -> set[Any]:
    return {hashable(item) for item in items}


PLAIN: Builders = {
    "collections.OrderedDict": lambda pairs=(): fill(OrderedDict(), pairs),
    **{f"{module}.set": _set for module in ("builtins", "__builtin__")},
    # Protocol 2 knows no bytes: empty ones are written as the first of these, others as the second.
    "__builtin__.bytes": lambda: b"",
    "_codecs.encode": _encode,
    "argparse.Namespace": lambda: {},
    "dnnlib.util.EasyDict": lambda: {},
    "numpy.dtype": ElementType,
    "numpy.ndarray": None,
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": lambda *_: np.empty(0) for core in ("core", "_core")},
}
