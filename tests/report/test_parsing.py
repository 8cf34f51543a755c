"""Values against hints: what passes, and where a fault is said to lie."""

import math
from typing import Literal, NamedTuple

import pytest

from latentfp.report.parsing import parse


class Inner(NamedTuple):
    count: int
    share: float | None


class Outer(NamedTuple):
    inners: list[Inner]
    names: dict[str, str]
    kind: Literal["a", "b"] = "a"


GOOD = {"inners": [{"count": 1, "share": 2}, {"count": 0, "share": None}], "names": {"x": "y"}}


def test_a_record():
    parsed = parse(Outer, {**GOOD, "unknown": 1}, "top")
    assert parsed == Outer([Inner(1, 2.0), Inner(0, None)], {"x": "y"})
    assert isinstance(parsed.inners[0].share, float)
    assert parse(Outer, {**GOOD, "kind": "b"}, "top").kind == "b"


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (int, 1.0, "top is 1.0, expected a whole number"),
        (int, True, "top is True, expected a whole number"),
        (int, "1", "top is '1', expected a whole number"),
        (float, True, "top is True, expected a finite number"),
        (float, math.nan, "top is nan, expected a finite number"),
        (float, -math.inf, "top is -inf, expected a finite number"),
        (float | None, "x", "top is 'x', expected a finite number"),
        (bool, 1, "top is 1, expected true or false"),
        (str, None, "top is None, expected a string"),
        (str, ["x" * 99], "...', expected a string".replace("'", "")),
        (list[int], {"a": 1}, "top is {'a': 1}, expected a list"),
        (list[int], [0, "x"], "top[1] is 'x', expected a whole number"),
        (dict[str, str], [], "top is [], expected an object"),
        (dict[str, str], {"a": 1}, "top.a is 1, expected a string"),
        (Outer, [], "top is [], expected an object"),
        (Outer, {}, "top lacks inners, names; expected inners, names, kind"),
        (Outer, {**GOOD, "kind": "c"}, "top.kind is 'c', expected one of 'a', 'b'"),
        (Outer, {**GOOD, "kind": []}, "top.kind is [], expected one of 'a', 'b'"),
        (Outer, {**GOOD, "inners": [{"count": 1}]}, "top.inners[0] lacks share; expected count, share"),
    ],
)
def test_faults_name_their_place(hint, value, message):
    with pytest.raises(ValueError, match="top") as error:
        parse(hint, value, "top")
    assert message in str(error.value)
    assert len(str(error.value)) < 150
