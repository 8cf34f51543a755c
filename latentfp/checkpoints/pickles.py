"""A pickle reader that cannot run anything.

A pickle is a program for a small stack machine. Python's own machine imports and calls whatever the program
names. This one knows only the instructions that build plain values and, of names, only those on its caller's
list, each with a builder of ours; any other name is refused with its full path. The standard library's
`pickletools` decodes the instructions and executes none.

`PLAIN` lists the names that every file may use: plain containers, and NumPy numbers and arrays of plain type.
No builder calls, imports or looks up anything that the file supplies, and what a builder is given is checked
before it is used.
"""

import io
import math
import mmap
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, TypeVar, cast

import numpy as np

T = TypeVar("T")
Builders = Mapping[str, Callable[..., Any] | None]


ELEMENT = re.compile("[<>|=]?[biufc][0-9]{0,2}")  # the code of a NumPy number


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
        if not isinstance(code, str) or not ELEMENT.fullmatch(code):
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
    sizes = [expect(size, int) for size in expect(shape, tuple)]
    if len(sizes) > MAX_AXES or min(sizes, default=0) < 0:
        raise ValueError("it has an array of a shape that there is not")
    if math.prod(sizes) * dtype.itemsize != len(expect(raw, bytes)):
        raise ValueError("it has an array of other numbers than its shape asks for")
    checked: Any = (1, tuple(sizes), dtype, expect(fortran, bool), raw)
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


# What pickles are that ask for a name that begins so.
TENSORFLOW = (
    ": it is a TensorFlow network of NVIDIA's first StyleGAN code; convert a StyleGAN2 with `python "
    "legacy.py --source FILE --dest NEW.pkl` of stylegan2-ada-pytorch, then import that"
)
EXPLAINED = {"dnnlib.tflib.": TENSORFLOW, "tfutil.": TENSORFLOW, "network.Network": TENSORFLOW}

MAX_AXES = 32  # of an array
MAX_BITS = 1024  # of a whole number; 77 are the most that weights need
MAX_INSTRUCTIONS = 2_000_000  # a checkpoint of 10 000 tensors has about 400 000

Stream = io.BytesIO | mmap.mmap
Persistent = Callable[[tuple[Any, ...]], Any]


def load(stream: Stream, allowed: Builders, persistent: Persistent | None = None) -> Any:
    """The value of the pickle at the stream's position; the stream is left behind it.

    `allowed`: full path of every name the file may use -> builder, or None for one that may only be
    mentioned. `persistent`: value of an object that the file keeps elsewhere, from its identifying tuple.
    Raises ValueError for anything else, and for a damaged file.
    """
    machine = _Machine(allowed, persistent, budget=2**14 + 4 * _length(stream))
    for count, (instruction, argument, position) in enumerate(_instructions(stream)):
        if count == MAX_INSTRUCTIONS:
            raise ValueError(f"its pickle has more than {MAX_INSTRUCTIONS} instructions")
        if instruction.name not in STEPS:
            raise ValueError(f"its pickle uses the instruction {instruction.name}, which weights do not need")
        try:
            STEPS[instruction.name](machine, argument)
        except (LookupError, TypeError, OverflowError) as error:
            place = f"byte {position} ({instruction.name})"
            raise ValueError(f"its pickle is damaged at {place}: {error}") from error
    return machine.result


def _instructions(stream: Stream) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    """The instructions from the stream's position. ValueError, in few words, where one is damaged."""
    try:
        yield from pickletools.genops(cast(IO[bytes], stream))
    except ValueError as error:
        raise ValueError(f"its pickle is damaged: {error!s:.200}") from None


def _length(stream: Stream) -> int:
    start = stream.tell()
    stream.seek(0, io.SEEK_END)
    end = stream.tell()
    stream.seek(start)
    return end


class _Machine:
    """The stack, the stacks below each open mark, and the memo.

    `budget` bounds what builders are given in all, so that a file cannot have one long list copied endlessly.
    """

    def __init__(self, allowed: Builders, persistent: Persistent | None, *, budget: int):
        self.allowed = allowed
        self.persistent = persistent
        self.budget = budget
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.result: Any = None

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def push_long(self, value: int) -> None:
        if value.bit_length() > MAX_BITS:
            raise ValueError(f"its pickle has a number of more than {MAX_BITS} bits")
        self.push(value)

    def pop(self) -> Any:
        return self.stack.pop()

    def stop(self, _: Any) -> None:
        self.result = self.pop()

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def tuple_of(self, size: int) -> None:
        self.push(tuple([self.pop() for _ in range(size)][::-1]))

    def append(self, items: list[Any]) -> None:
        expect(self.stack[-1], list).extend(items)

    def add(self, items: list[Any]) -> None:
        expect(self.stack[-1], set).update(map(hashable, items))

    def set_items(self, flat: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise TypeError("items are set on something that is no dictionary")
        fill(self.stack[-1], zip(flat[::2], flat[1::2], strict=True))

    def name(self, path: str) -> None:
        if path not in self.allowed:
            known = next((what for start, what in EXPLAINED.items() if path.startswith(start)), "")
            raise ValueError(
                f"it asks for {path:.200}, which weights do not need; nothing was executed{known}"
            )
        self.push(Name(path, self.allowed[path]))

    def named(self, _: Any) -> None:
        name, module = expect(self.pop(), str), expect(self.pop(), str)
        self.name(f"{module}.{name}")

    def call(self, _: Any) -> None:
        arguments, name = expect(self.pop(), tuple), expect(self.pop(), Name)
        self.spend(arguments)
        if name.build is None:
            raise ValueError(f"it calls {name.path}, which may only be mentioned; nothing was executed")
        self.push(name.build(*arguments))

    def build(self, _: Any) -> None:
        state = self.pop()
        self.spend(state if isinstance(state, tuple) else (state,))
        restore(self.stack[-1], state)

    def spend(self, values: tuple[Any, ...]) -> None:
        self.budget -= sum(len(value) for value in values if isinstance(value, str | bytes | list | dict))
        if self.budget < 0:
            raise ValueError("its pickle unfolds to much more than the file holds")

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.push(self.memo[index])

    def find(self, _: Any) -> None:
        identity = expect(self.pop(), tuple)
        if self.persistent is None:
            raise ValueError("its pickle refers to data outside itself")
        self.push(self.persistent(identity))


LITERALS = [
    *("NONE", "BININT", "BININT1", "BININT2", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
]

STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    **dict.fromkeys(["PROTO", "FRAME"], lambda *_: None),
    **dict.fromkeys(LITERALS, _Machine.push),
    **dict.fromkeys(["LONG1", "LONG4"], _Machine.push_long),
    **dict.fromkeys(["BINPUT", "LONG_BINPUT"], _Machine.put),
    **dict.fromkeys(["BINGET", "LONG_BINGET"], _Machine.get),
    **dict.fromkeys(["REDUCE", "NEWOBJ"], _Machine.call),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_SET": lambda machine, _: machine.push(set()),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "MARK": _Machine.mark,
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "ADDITEMS": lambda machine, _: machine.add(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "GLOBAL": lambda machine, path: machine.name(path.replace(" ", ".")),
    "STACK_GLOBAL": _Machine.named,
    "BUILD": _Machine.build,
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "BINPERSID": _Machine.find,
    "STOP": _Machine.stop,
}
