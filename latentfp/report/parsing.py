"""From JSON to named tuples: the type hints of a record are its schema.

A value is checked against its hint: str, bool, int, float (finite; whole numbers count), Literal, X | None,
list[X], dict[str, X], or a NamedTuple, whose fields are the members of a JSON object. A field with a default
may be left out; members that no field asks for are passed over. The first fault is a ValueError that names
the place, as in `files[3].p_value`.
"""

import math
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

SCALARS = {
    str: ((str,), "a string"),
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a finite number"),
}


def parse(hint: Any, value: Any, place: str) -> Any:
    """`value` as `hint` says; `place` names it in errors."""
    if hint in SCALARS:
        return _scalar(hint, value, place)
    if get_origin(hint) is UnionType:
        return None if value is None else parse(_not_none(hint), value, place)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise _wrong(place, value, "one of " + ", ".join(map(repr, get_args(hint))))
        return value
    if get_origin(hint) is list:
        (item,) = get_args(hint)
        members = enumerate(_of_kind(list, value, place, "a list"))
        return [parse(item, member, f"{place}[{i}]") for i, member in members]
    members = _of_kind(dict, value, place, "an object")
    if get_origin(hint) is dict:
        item = get_args(hint)[1]
        return {name: parse(item, member, f"{place}.{name}") for name, member in members.items()}
    return _record(hint, members, place)


def _record(kind: Any, members: dict[str, Any], place: str) -> Any:
    missing = [name for name in kind._fields if name not in members and name not in kind._field_defaults]
    if missing:
        raise ValueError(f"{place} lacks {', '.join(missing)}; expected {', '.join(kind._fields)}")
    hints = get_type_hints(kind)
    given = [name for name in kind._fields if name in members]
    return kind(**{name: parse(hints[name], members[name], f"{place}.{name}") for name in given})


def _scalar(kind: type, value: Any, place: str) -> Any:
    allowed, words = SCALARS[kind]
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        raise _wrong(place, value, words)
    if kind is float and not math.isfinite(value):
        raise _wrong(place, value, words)
    return kind(value)


def _of_kind(kind: type, value: Any, place: str, words: str) -> Any:
    if not isinstance(value, kind):
        raise _wrong(place, value, words)
    return value


def _not_none(hint: Any) -> Any:
    (rest,) = (arm for arm in get_args(hint) if arm is not NoneType)
    return rest


def _wrong(place: str, value: Any, expected: str) -> ValueError:
    shown = repr(value)
    return ValueError(f"{place} is {shown if len(shown) <= 60 else shown[:57] + '...'}, expected {expected}")
