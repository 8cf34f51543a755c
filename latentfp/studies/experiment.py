"""How every experiment runs: what it has measured is kept, so a killed one goes on, and processes share it.

An experiment measures cells, each a named tuple or a dictionary, and puts together what was found. The
numbers of a cell are a line of cells.jsonl, with the version of the code and the machine that measured them.
Several processes of one experiment have a file each and read those of the others.

Everything random follows from the seed and the stream. Settings are chosen on `tune`, and what is reported is
measured on `report`; the two have no number in common.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from latentfp.runtime import lines
from latentfp.runtime.files import replacing
from latentfp.runtime.processes import ALONE, Share
from latentfp.runtime.progress import progress
from latentfp.runtime.provenance import code_version, command, hardware

Numbers = dict[str, Any]
Cell = TypeVar("Cell", bound=Any)  # a named tuple or a dictionary of what is measured
SEEDS = 2**20


class Stream(StrEnum):
    """What random numbers are for: to choose settings, or to report what the chosen ones do."""

    TUNE = "tune"
    REPORT = "report"


def seed_of(seed: int, stream: Stream) -> int:
    """The seed of everything random: `tune` has those below 2^20, `report` others. ValueError beyond 2^20."""
    return checked(seed) if stream is Stream.TUNE else 2**30 + checked(seed)


def checked(seed: int) -> int:
    """The seed. ValueError for one that is negative or beyond 2^20."""
    if not 0 <= seed < SEEDS:
        raise ValueError(f"config.seed is {seed}: expected 0 … {SEEDS - 1}")
    return seed


class Unfinished(Exception):
    """Other processes still measure cells that are needed here."""


class Experiment:
    """Where the cells of an experiment are kept, and whose part this process measures."""

    def __init__(self, workdir: Path, *, seed: int, share: Share = ALONE):
        own = f"cells-{share.index}-of-{share.count}" if share.count > 1 else "cells"
        self.workdir, self.seed, self.share = workdir, seed, share
        self.used: list[lines.Entry] = []
        self._path = workdir / f"{own}.jsonl"
        self._entries: dict[str, lines.Entry] = {}
        self._read()

    def measured(
        self,
        cells: Sequence[Cell],
        measure: Callable[[Cell], Numbers],
        *,
        belongs: Mapping[str, Any],
        together: Callable[[Cell], Any] | None = None,
    ) -> list[Numbers]:
        """The numbers of every cell; Unfinished while other processes still measure some.

        `belongs`: what else the numbers depend on. Cells for which `together` is the same are measured by the
        same process. Each row of numbers gets the `seconds` that it took, so ValueError where it has some.
        """
        settings = [{**belongs, **plain(cell)} for cell in cells]
        keys = list(map(_key, settings))
        unique = dict(zip(keys, zip(cells, settings, strict=True), strict=True))
        group = {key: together(cell) if together else key for key, (cell, _) in unique.items()}
        mine = set(self.share.of(list(dict.fromkeys(group.values()))))
        new = [key for key in unique if key not in self._entries and group[key] in mine]
        with progress("cells", len(new), even=False) as advance:
            for key in new:
                cell, setting = unique[key]
                self._keep(setting, partial(measure, cell))
                advance(1)
        self._read()
        if any(key not in self._entries for key in keys):
            raise Unfinished
        self.used += [self._entries[key] for key in unique]
        return [self._entries[key]["numbers"] for key in keys]

    def _keep(self, setting: Mapping[str, Any], measure: Callable[[], Numbers]) -> None:
        began = time.perf_counter()
        numbers = measure()
        if "seconds" in numbers:
            raise ValueError("a row of numbers has a field `seconds`, which is that of the time it took")
        numbers = {**numbers, "seconds": time.perf_counter() - began}
        made = {"code": code_version(), "hardware": hardware()}
        lines.append(self._path, {"setting": setting, "numbers": numbers, **made})

    def _read(self) -> None:
        for path in sorted(self.workdir.glob("cells*.jsonl")):
            self._entries.update({_key(entry["setting"]): entry for entry in lines.read(path)})


def run(
    measure: Callable[[Experiment, Any], Any],
    settings: Any,
    *,
    workdir: Path,
    name: str,
    title: str,
    stream: Stream,
    seed: int,
    share: Share = ALONE,
) -> dict[str, Any] | None:
    """Measure what `workdir` lacks; write and return NAME.json, None while other processes still measure.

    The record is what `measure` returns, after the settings and what it was made with: `hardware` is that of
    the rows, `code` their versions of the code, `seconds` the sum of what they took. Rows that another
    version of the code measured are named on stderr and in the record.
    """
    began = time.perf_counter()
    workdir.mkdir(parents=True, exist_ok=True)
    experiment = Experiment(workdir, seed=seed_of(seed, stream), share=share)
    try:
        found = measure(experiment, settings)
    except Unfinished:
        sys.stderr.write(f"{workdir}: done here; the process that ends last writes the result\n")
        return None
    rows = experiment.used
    code = sorted({row["code"] for row in rows}) or [code_version()]
    machines = sorted({row["hardware"] for row in rows}) or [hardware()]
    if code != [code_version()]:
        sys.stderr.write(
            f"{workdir}: rows of the code {', '.join(code)} stand beside one another; this is "
            f"{code_version()}. To measure all of them anew, choose an empty folder\n"
        )
    header = {
        "name": name,
        "title": title,
        "command": command(),
        "hardware": "; ".join(machines),
        "code": code,
        "stream": stream.value,
        "seed": seed,
        "seconds": sum(row["numbers"]["seconds"] for row in rows) or time.perf_counter() - began,
    }
    record = {**header, **plain(settings), **plain(found)}
    with replacing(workdir / f"{name}.json") as fresh:
        fresh.write_text(json.dumps(record, indent=1) + "\n")
    return record


def plain(value: Any) -> Any:
    """A record as JSON has it: named tuples are objects, other tuples lists."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(name): plain(field) for name, field in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def _key(setting: Any) -> str:
    return json.dumps(setting, sort_keys=True)
