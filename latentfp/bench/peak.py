"""The machine's own measure: operations a second of a large matrix product, bytes a second of a large copy.

Both are float32 and run through JAX at its default precision on one device, as every program of a bench does.
The copy turns the sign of every number, because a compiler may leave out a copy that changes nothing, and
writes it where it was read: fresh memory costs an operating system far more than the copy itself. Its bytes
are those read and those written.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from latentfp import rng


class Loads(NamedTuple):
    """What is timed: matrices of `side` × `side`, an array of `mib` MiB."""

    side: int
    mib: int


class Seconds(NamedTuple):
    """Of one product and of one copy, as often as they were measured."""

    product: list[float]
    copy: list[float]


class Peak(NamedTuple):
    """The best of a device. Spreads: by what share the slowest measurement took longer than the best."""

    flops: float  # a second
    bandwidth: float  # bytes a second
    flops_spread: float
    bandwidth_spread: float


def call_seconds(call: Callable[[], Any], *, repeats: int, calls: int = 1) -> list[float]:
    """Seconds of one call, measured `repeats` times, each the mean of so many `calls` one after the other."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(calls):
            jax.block_until_ready(call())
        times.append((time.perf_counter() - began) / calls)
    return times


def time_loads(loads: Loads, *, repeats: int, seed: int) -> Seconds:
    """Seconds of both, `repeats` times each, on random numbers and without the first call of each."""
    square = jax.random.normal(rng.stream(rng.root(seed), "product"), (loads.side, loads.side))
    long = [jax.random.normal(rng.stream(rng.root(seed), "copy"), (loads.mib * 2**18,))]
    multiply, turn = jax.jit(jnp.matmul), jax.jit(jnp.negative, donate_argnums=0)

    def copy() -> jax.Array:
        long[0] = turn(long[0])
        return long[0]

    return Seconds(
        call_seconds(lambda: multiply(square, square), repeats=1 + repeats)[1:],
        call_seconds(copy, repeats=1 + repeats)[1:],
    )


def peak_of(loads: Loads, *measured: Seconds) -> Peak:
    """The peak of all measurements of these loads."""
    product = [second for seconds in measured for second in seconds.product]
    copy = [second for seconds in measured for second in seconds.copy]
    multiplied_and_added, read_and_written = 2.0 * loads.side**3, 2.0 * loads.mib * 2**20
    return Peak(
        multiplied_and_added / min(product),
        read_and_written / min(copy),
        spread(product),
        spread(copy),
    )


def spread(seconds: list[float]) -> float:
    """By what share of the best the slowest is slower."""
    return max(seconds) / min(seconds) - 1
