"""The training loop: any objective, any number of devices, and the same run after an interruption.

A run is a function of its configuration: the state before step t, the batch of step t and the keys
stream(root, "update", t, part) give the state before step t + 1. Nothing else is carried over, so a run
resumed from a checkpoint, also after it was killed, is bit for bit the run that was not interrupted (on as
many devices of the same kind; GPUs need XLA_FLAGS=--xla_gpu_deterministic_ops=true for it).

Several processes that have joined (runtime/processes.py) run the same loop on one mesh, in a folder that
all of them see. Each reads its own rows of every batch and writes its part of every checkpoint; the first
one alone writes numbers, pictures and exports.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jaxtyping import Array, Shaped

from latentfp import rng
from latentfp.pixels import to_float
from latentfp.runtime import mesh as meshes
from latentfp.runtime.checkpoint import Checkpoints, open_checkpoints
from latentfp.runtime.metrics import Metrics, Window, Writer
from latentfp.runtime.progress import progress
from latentfp.types import Count, Images, Key, PyTree

State = PyTree[Any]
Batches = Callable[
    [int], Iterator[np.ndarray]
]  # first step -> arrays [b ...], one a step: this process's rows
STEPS_AHEAD = 2  # unfinished steps: enough to keep devices busy, few enough to finish after SIGTERM


class Lazy(NamedTuple):
    """An extra update that follows step t of the main one whenever `every` divides t; same signature.

    It is a program of its own, because a conditional inside one program would cost far more than it saves:
    XLA's CPU backend runs the convolutions of a branch about ten times slower.
    """

    every: int
    update: Callable[[State, Key, Array, Count], tuple[State, Metrics]]


class Objective(NamedTuple):
    """What is trained: functions of a state, which may be any tree of arrays (but of no random keys).

    init(key): the first state.
    update(state, key, batch, step): the next state, and the metrics of this step as name -> (sum, count).
        Pure; written for a whole batch. Pixels [b h w 3] of uint8 arrive as float images in [-1, 1], other
        batches as they are. `key` belongs to this step alone.
    preview(state, key): images [n h w 3] in [-1, 1] for a grid. Pure; `key` is the same in the whole run.
    evaluate(state): numbers to report beside each preview. Ordinary Python, and may be slow.
    lazy: extra updates of some steps, on the same images.
    export(state, folder): write what the run is for into `folder`, with every checkpoint. Ordinary Python.
    """

    init: Callable[[Key], State]
    update: Callable[[State, Key, Array, Count], tuple[State, Metrics]]
    preview: Callable[[State, Key], Images] | None = None
    evaluate: Callable[[State], dict[str, float]] | None = None
    lazy: tuple[Lazy, ...] = ()
    export: Callable[[State, Path], None] | None = None


def train(
    objective: Objective,
    batches: Batches,
    *,
    workdir: Path,
    steps: int,
    seed: int,
    log_every: int,
    preview_every: int,
    checkpoint_every: int,
    keep: int,
    mesh: Mesh,
) -> State:
    """The state after `steps` steps, starting from the latest checkpoint in `workdir` if there is one.

    Durations are in steps. `workdir` receives metrics, previews and the latest `keep` checkpoints. On
    SIGTERM, to any process, the step under way is finished, the state saved and SystemExit(143) raised; of
    several processes, the step on which they agree. FloatingPointError
    names a step whose metrics are not finite; ValueError: a checkpoint of another program, a batch that the
    devices cannot share, a duration below 1.
    """
    _check_at_least_one(log=log_every, preview=preview_every, checkpoint=checkpoint_every)
    with closing(open_checkpoints(workdir, keep=keep)) as checkpoints, _sigterm() as stopping:
        done, state = _start(objective, checkpoints, seed=seed, mesh=mesh)
        if done >= steps:
            return state
        update = _updates(objective, seed=seed, mesh=mesh)
        source = batches(done)
        with (
            closing(_Report(objective, workdir, seed=seed, first_step=done)) as report,
            progress("training", steps - done, shown=meshes.leads()) as advance,
        ):
            while done < steps:
                batch = meshes.shard_batch(mesh, _next(source, done))
                state, metrics = update(state, batch, done)
                done += 1
                report.add(done, metrics, images=len(batch))
                advance(1)
                stop = stopping(done) or done == steps
                if stop or done % log_every == 0:
                    report.numbers(done)
                if done == steps or done % preview_every == 0:
                    report.preview(done, state)
                if stop or done % checkpoint_every == 0:
                    report.check()
                    checkpoints.save(done, state)
                    if objective.export is not None and meshes.leads():
                        objective.export(meshes.on_this_process(state), workdir / "export")
                if stop and done < steps:
                    raise SystemExit(128 + signal.SIGTERM)
    return state


def _check_at_least_one(**durations: int) -> None:
    for name, every in durations.items():
        if every < 1:
            raise ValueError(f"{name}_every is {every}: give a number of steps, at least 1")


def _start(objective: Objective, checkpoints: Checkpoints, *, seed: int, mesh: Mesh) -> tuple[int, State]:
    init = partial(objective.init, rng.stream(rng.root(seed), "init"))
    restored = checkpoints.restore_latest(meshes.abstract_replicated(init, mesh))
    if restored is None:
        return 0, meshes.init_replicated(init, mesh)
    logging.info("resuming after step %d", restored[0])
    return restored


def _updates(objective: Objective, *, seed: int, mesh: Mesh) -> Callable[..., tuple[State, Metrics]]:
    """The main update and the lazy ones that are due, each compiled on its own."""
    parts = (Lazy(1, objective.update), *objective.lazy)
    programs = [meshes.data_parallel(one_step(part, seed, i), mesh) for i, part in enumerate(parts)]

    def update(state: State, batch: Array, step: int) -> tuple[State, Metrics]:
        metrics = {}
        for part, program in zip(parts, programs, strict=True):
            if step % part.every == 0:
                state, seen = program(state, batch, np.int32(step))
                metrics |= seen
        return state, metrics

    return update


def one_step(part: Lazy, seed: int, number: int) -> Callable[..., tuple[State, Metrics]]:
    """Update `number` of an objective as a function of state, batch and the number of the step."""

    def step(state: State, batch: Shaped[Array, "b ..."], index: Count) -> tuple[State, Metrics]:
        key = rng.stream(rng.root(seed), "update", index, number)
        return part.update(state, key, to_float(batch) if batch.dtype == np.uint8 else batch, index)

    return step


def _next(source: Iterator[np.ndarray], done: int) -> np.ndarray:
    try:
        return next(source)
    except StopIteration:
        raise ValueError(f"the data ended after {done} steps: give an endless stream of batches") from None


class _Report:
    """Numbers and pictures of the run as it goes on."""

    def __init__(self, objective: Objective, workdir: Path, *, seed: int, first_step: int):
        def preview(state: State) -> Images | None:
            return objective.preview and objective.preview(state, rng.stream(rng.root(seed), "preview"))

        self._preview, self._evaluate = jax.jit(preview), objective.evaluate
        self._writer = Writer(workdir, first_step=first_step) if meshes.leads() else None
        self._window = Window()
        self._images, self._since = 0, time.perf_counter()

    def add(self, done: int, metrics: Metrics, *, images: int) -> None:
        self._window.add(done, metrics)
        self._window.wait(ahead=STEPS_AHEAD)
        self._images += images

    def check(self) -> None:
        self._window.means()

    def numbers(self, done: int) -> None:
        row = self._window.means()
        row["images_per_second"] = self._images / (time.perf_counter() - self._since)
        if self._writer is not None:
            self._writer.scalars(done, row)
            logging.info("step %d: %s", done, "  ".join(f"{name} {value:.4g}" for name, value in row.items()))
        self._window.clear()
        self._images, self._since = 0, time.perf_counter()

    def preview(self, done: int, state: State) -> None:
        self.check()
        if self._writer is None:
            return
        state = meshes.on_this_process(state)
        images = self._preview(state)
        if images is not None:
            self._writer.grid(done, np.asarray(images))
        if self._evaluate is not None:
            self._writer.scalars(done, self._evaluate(state))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


@contextmanager
def _sigterm() -> Iterator[Callable[[int], bool]]:
    """Yields a function of the steps done that tells whether to stop after them, because of SIGTERM.

    Only a main thread can be told; of several processes, all stop after the same step.
    """
    arrived: list[int] = []
    if jax.process_count() > 1:
        yield multihost_utils.reached_preemption_sync_point
        return
    if threading.current_thread() is not threading.main_thread():
        yield lambda _: False
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: arrived.append(number))
    try:
        yield lambda _: bool(arrived)
    finally:
        signal.signal(signal.SIGTERM, before)
