"""Throughput of every stage of a deployment, beside what the same machine can do at best in the same run.

A stage is timed in rounds, in each of which each of its programs runs for at least a fifth of a second; the
figure is the best round, since other work on the machine can only slow a round down, and its spread is by
what share the slowest round took longer. The host waits for every call. Costs are XLA's own count
(bench/costs.py); a share is the program's operations (bytes) a second on a device against those of that
device's peak. Each program is compiled from nothing, without any cache.

The peak is that of a large matrix product and of a large copy, measured before the stages and after each.
Both are float32 and run through JAX at its default precision on one device, as every program of a bench does.
The copy turns the sign of every number, because a compiler may leave out a copy that changes nothing, and
writes it where it was read: fresh memory costs an operating system far more than the copy itself. Its bytes
are those read and those written.
"""

import datetime
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from latentfp import rng
from latentfp.bench import costs
from latentfp.bench.costs import Compiled
from latentfp.bench.stages import (
    AlgebraicCode,
    Program,
    Sizes,
    Stage,
    attacks,
    list_decoding,
    pixels_of,
    stages,
    training_step,
    untrained,
)
from latentfp.runtime import lines
from latentfp.runtime.fields import recorded
from latentfp.runtime.lines import Entry
from latentfp.runtime.progress import track
from latentfp.runtime.provenance import code_version, hardware, peak_memory
from latentfp.studies.context import identity, open_context
from latentfp.studies.experiment import Numbers

LEAST = 0.2  # seconds that a program runs in each round
SAME = ("hardware", "jax", "generator", "deployment", "sizes", "loads", "training")  # of runs that compare


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


def run(
    *,
    deployment: str,
    sizes: Sizes,
    loads: Loads,
    rounds: int,
    networks: Mapping[str, Mapping[str, Any]],
    suites: Sequence[str],
    algebraic: AlgebraicCode,
    training: Mapping[str, Mapping[str, Any]],
    history: str | None,
    seed: int,
    workdir: Path,
) -> dict[str, Any]:
    """Measure, write throughput.json, and add a line to the file `history` (None: in `workdir`).

    `networks`: StyleGAN2 networks by name, to be measured with random weights. `suites`: whose attacks are a
    stage each. `training`: by name, the fields of stages.training_step. The result holds the `previous`
    line of the same machine, JAX, deployment, decoder and settings, if there is one.
    """
    context = open_context(deployment, seed=seed)
    around = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "code": [code_version()],
        "hardware": hardware(),
        "jax": jax.__version__,
    }
    batches = [sizes.batch, sizes.refined, *(fields["batch"] for fields in training.values())]
    pixels = pixels_of(context, max(batches))
    made = {
        **stages(context, sizes, pixels),
        **untrained(context, networks, sizes.batch),
        **attacks(suites, pixels[0], seed=seed),
        **list_decoding(algebraic, seed=seed),
        **{name: partial(training_step, context, pixels, **fields) for name, fields in training.items()},
    }
    rows, measured = {}, [time_loads(loads, repeats=rounds, seed=seed)]
    for name, make in track(made.items(), "stages", len(made)):
        rows[name] = measure_stage(make(), rounds)
        measured.append(time_loads(loads, repeats=rounds, seed=seed))
    best = peak_of(loads, *measured)
    result = {
        **around,
        "generator": Path(context.opened.manifest.generator.name).name,
        "deployment": identity(context),
        "sizes": sizes._asdict(),
        "loads": loads._asdict(),
        "rounds": rounds,
        "training": recorded(training),
        "peak": best._asdict(),
        "peak_memory_mib": peak_memory(),
        "stages": {name: {**row, **shares(row, best)} for name, row in rows.items()},
    }
    return _compared(result, workdir, Path(history) if history else workdir / "history.jsonl")


def measure_stage(stage: Stage, rounds: int) -> Numbers:
    """Speed, cost, compilation and memory of a stage. Costs of a batch are on one device, None if unknown.

    `peak_memory_mib`: the most that the process has held so far; `device_peak_mib`: a device, if it says so.
    """
    built = [costs.build(program.function, *program.arguments) for program in stage.programs]
    programs = [
        {
            "name": program.name,
            "times": program.times,
            "flops": compiled.cost and compiled.cost.flops,
            "bytes": compiled.cost and compiled.cost.bytes,
            "loops": compiled.loops,
            "compile_seconds": compiled.compile_seconds,
            "memory_mib": compiled.memory / 2**20,
        }
        for program, compiled in zip(stage.programs, built, strict=True)
    ]
    timed = [(it.times, _caller(it, compiled)) for it, compiled in zip(stage.programs, built, strict=True)]
    seconds = _rounds(timed if stage.whole is None else [(1, stage.whole)], rounds)
    device_peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return {
        "items": stage.items,
        "unit": stage.unit,
        "devices": max((compiled.devices for compiled in built), default=1),
        "whole_numbers": stage.whole_numbers,
        "per_second": stage.items / min(seconds),
        "seconds": min(seconds),
        "spread": spread(seconds),
        "flops": _total(programs, "flops"),
        "bytes": _total(programs, "bytes"),
        "compile_seconds": sum(it["compile_seconds"] for it in programs) if programs else None,
        "memory_mib": max((it["memory_mib"] for it in programs), default=None),
        "peak_memory_mib": peak_memory(),
        "device_peak_mib": None if device_peak is None else device_peak / 2**20,
        "programs": programs,
    }


def _total(programs: Sequence[Numbers], name: str) -> float | None:
    """Of a batch; None if the cost of a part is unknown, or there are no parts."""
    known = [it["times"] * it[name] for it in programs if it[name] is not None]
    return sum(known) if programs and len(known) == len(programs) else None


def shares(row: Numbers, best: Peak) -> Numbers:
    """By what share of a device's peak a stage runs: None where its cost is not known, or is none of that."""
    flops, moved = row["flops"], row["bytes"]
    counts = flops is not None and not row["whole_numbers"]
    return {
        "product_share": flops / row["seconds"] / best.flops if counts else None,
        "copy_share": None if moved is None else moved / row["seconds"] / best.bandwidth,
    }


def _compared(result: dict[str, Any], workdir: Path, path: Path) -> dict[str, Any]:
    """The result beside the previous line of the history; both are written."""
    same = {name: result[name] for name in SAME}
    result["previous"] = latest(lines.read(path), same)
    entry = {
        **{name: result[name] for name in ("date", "code")},
        **same,
        "peak": {name: result["peak"][name] for name in ("flops", "bandwidth")},
        "per_second": {name: row["per_second"] for name, row in result["stages"].items()},
    }
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "throughput.json").write_text(json.dumps(result, indent=1) + "\n")
    lines.append(path, entry)
    return result


def _caller(program: Program, compiled: Compiled) -> Callable[[], Any]:
    """A call of the program; where it uses up its first argument, the next one gets what it returned."""
    arguments = list(program.arguments)

    def call() -> Any:
        found = compiled.call(*arguments)
        if program.carry is not None:
            arguments[0] = program.carry(found)
        return found

    return call


def _rounds(timed: Sequence[tuple[float | int, Callable[[], Any]]], rounds: int) -> list[float]:
    """Seconds of a batch in every round."""
    totals = [0.0] * rounds
    for times, call in timed:
        call_seconds(call, repeats=1)
        calls = math.ceil(LEAST / call_seconds(call, repeats=1)[0])
        for i, seconds in enumerate(call_seconds(call, repeats=rounds, calls=calls)):
            totals[i] += times * seconds
    return totals


def latest(entries: Sequence[Entry], alike: Mapping[str, Any]) -> Entry | None:
    """The last entry that has these fields with these values."""
    wanted = json.loads(json.dumps(alike))
    same = (entry for entry in reversed(entries) if {name: entry.get(name) for name in wanted} == wanted)
    return next(same, None)
