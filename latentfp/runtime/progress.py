"""Progress of long work on stderr: what is being done, how much of it, how long it still takes.

A terminal gets a bar. Anything else (a log file, a pipe) gets a line about every half minute, so nothing for
shorter work.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")
Advance = Callable[[int], None]

LINE_EVERY = 30.0  # seconds between two lines where there is no terminal


def track(iterable: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items of `iterable`, advancing by one after each. `total`: its length, unless it has none."""
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with progress(description, total) as advance:
        for item in iterable:
            yield item
            advance(1)


@contextmanager
def progress(description: str, total: int | None, *, shown: bool = True) -> Iterator[Advance]:
    """Show progress within the block. `advance(n)` counts n more steps done, of `total` (None: not known).

    `shown`: whether at all; of several processes that do the same, one is enough.
    """
    if not shown:
        yield lambda _: None
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(description, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(description, total=total)
        yield lambda n: bar.advance(task, n)


def _lines(description: str, total: int | None) -> Advance:
    start = latest = time.monotonic()
    done = 0

    def advance(n: int) -> None:
        nonlocal done, latest
        done += n
        now = time.monotonic()
        if now - latest < LINE_EVERY:
            return
        latest = now
        rest = f" of {total}, {(now - start) * (total - done) / done:.0f} s left" if total and done else ""
        sys.stderr.write(f"{description}: {done}{rest}\n")
        sys.stderr.flush()

    return advance
