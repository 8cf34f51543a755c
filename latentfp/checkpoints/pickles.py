"""A pickle reader that cannot run anything.

A pickle is a program for a small stack machine. Python's own machine imports and calls whatever the program
names. This one knows only the instructions that build plain values and, of names, only those on its caller's
list, each with a builder of ours; any other name is refused with its full path. The standard library's
`pickletools` decodes the instructions and executes none.
"""

import io
import mmap
import pickletools
from collections.abc import Callable
from typing import IO, Any, cast

from latentfp.checkpoints.builders import Builders, Name, expect, fill, hashable, restore

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
    for count, (instruction, argument, position) in enumerate(pickletools.genops(cast(IO[bytes], stream))):
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
            raise ValueError(f"it asks for {path:.200}, which weights do not need; nothing was executed")
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
    *("NONE", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
]

STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    **dict.fromkeys(["PROTO", "FRAME"], lambda *_: None),
    **dict.fromkeys(LITERALS, _Machine.push),
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
