"""What a compiled program costs, as XLA counts it, with its loops counted as often as they run.

XLA adds up the optimised program, instruction by instruction: two operations for each multiplication and
addition of a product or a convolution (not those with padding), one for each number of an elementwise
instruction or a sum, whole numbers too; exponentials and the like are counted elsewhere. Bytes are those that
each instruction (a fusion is one) reads and writes, wherever they lie: what stays in a cache counts as well,
so bytes a second may exceed those of a copy. Instructions that XLA does not know, such as a sort, count
nothing.

The body of a loop counts once, however often it runs. Here every `scan` of a program is found in its jaxpr
and its body compiled alone, and the iterations that XLA left out are added. Loops whose number of iterations
is not known beforehand make the cost unknown. The loops of JAX's random numbers appear only while a program
is lowered; they count once. In a program over several devices loops make the cost unknown as well, since
their share of the work is not known.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun


class Cost(NamedTuple):
    """Operations and bytes of one call."""

    flops: float
    bytes: float

    def plus(self, other: "Cost", times: float | int) -> "Cost":
        """With `times` the other."""
        return Cost(self.flops + times * other.flops, self.bytes + times * other.bytes)


class Compiled(NamedTuple):
    """A program ready to be called. `cost` of one call on one device: None if unknown."""

    call: Callable[..., Any]
    cost: Cost | None
    loops: list[int]  # iterations of the loops whose bodies were counted apart
    devices: int
    compile_seconds: float  # to trace, lower and compile
    memory: int  # bytes on a device: arguments, results and what lies between


class Loop(NamedTuple):
    """A loop of a program: its iterations, how many of them XLA counts, and its body."""

    length: int
    counted: int
    body: ClosedJaxpr


class UnknownLength(Exception):
    """A loop whose number of iterations is not known beforehand."""


def build(function: Any, *arguments: Any) -> Compiled:
    """Compile a function of `jax.jit` for these arguments, from nothing, and count its cost."""
    with uncached():
        began = time.perf_counter()
        traced = function.trace(*arguments)
        compiled = traced.lower().compile()
        seconds = time.perf_counter() - began
    devices = max(len(place.device_set) for place in jax.tree.leaves(compiled.output_shardings))
    cost, lengths = _cost(compiled, traced.jaxpr, devices)
    size = compiled.memory_analysis()
    held = size.argument_size_in_bytes + size.output_size_in_bytes - size.alias_size_in_bytes
    return Compiled(compiled, cost, lengths, devices, seconds, held + size.temp_size_in_bytes)


@contextmanager
def uncached() -> Iterator[None]:
    """Within the block nothing compiled before is used, in memory or in JAX's persistent cache."""
    before = bool(jax.config.values["jax_enable_compilation_cache"])
    jax.clear_caches()
    try:
        _use_cache(False)
        yield
    finally:
        _use_cache(before)


def _use_cache(on: bool) -> None:
    jax.config.update("jax_enable_compilation_cache", on)
    if jax.config.values["jax_compilation_cache_dir"]:
        reset_cache()  # JAX asks once whether there is a cache


def _cost(compiled: Any, jaxpr: ClosedJaxpr, devices: int) -> tuple[Cost | None, list[int]]:
    try:
        found = loops(jaxpr.jaxpr)
        if found and devices > 1:
            return None, []
        return counted(compiled).plus(left_out(jaxpr.jaxpr), 1), [loop.length for loop in found]
    except UnknownLength:
        return None, []


def counted(compiled: Any) -> Cost:
    """XLA's own count."""
    found = compiled.cost_analysis() or {}
    return Cost(max(0.0, found.get("flops", 0.0)), max(0.0, found.get("bytes accessed", 0.0)))


def left_out(jaxpr: Jaxpr) -> Cost:
    """What XLA's count lacks: further iterations of loops, and of loops within them. UnknownLength."""
    total = Cost(0.0, 0.0)
    for loop in loops(jaxpr):
        body = jax.jit(jaxpr_as_fun(loop.body)).lower(*loop.body.in_avals).compile()
        total = total.plus(counted(body), loop.length - loop.counted)
        total = total.plus(left_out(loop.body.jaxpr), loop.length)
    return total


def loops(jaxpr: Jaxpr) -> list[Loop]:
    """The outermost loops of a program. UnknownLength if one of them has no fixed number of iterations."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "while":
            raise UnknownLength
        if equation.primitive.name == "scan":
            length, unroll = equation.params["length"], equation.params["unroll"]
            once = length if unroll >= length else unroll + length % unroll
            found.append(Loop(length, once, equation.params["jaxpr"]))
            continue
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                found += loops(inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner)
    return found


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, Jaxpr | ClosedJaxpr)
