"""Progress of long work on stderr: what is being done, how much of it, how long it still takes.

A terminal gets a bar. Anything else (a log file, a pipe) gets a line about every half minute, so nothing for
shorter work.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Item = TypeVar("Item")
Advance = Callable[..., None]  # of how many more are done, and what is being done meanwhile

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
def progress(
    description: str, total: int | None, *, even: bool = True, shown: bool = True
) -> Iterator[Advance]:
    """Show progress within the block. `advance(n)` counts n more steps done, of `total` (None: not known).

    `advance(n, "refine 35 %")` also says what is being done meanwhile.

    `even`: the steps take about as long as one another; otherwise no time left is shown. `shown`: whether at
    all; of several processes that do the same, one is enough. A block within another has a bar below it.
    """
    if not shown:
        yield lambda _n, _what="": None
        return
    if not Console(stderr=True).is_terminal:
        yield _lines(description, total, even=even)
        return
    inner = bool(_bars)
    with ExitStack() as stack:
        if not inner:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _TimeLeft())
            _bars.append(stack.enter_context(Progress(*columns, console=Console(stderr=True))))
            stack.callback(_bars.pop)
        bar = _bars[0]
        task = bar.add_task(description, total=total, even=even)

        def advance(n: int, what: str = "") -> None:
            bar.update(task, advance=n, description=f"{description}, {what}" if what else description)

        yield advance
        if inner:
            bar.remove_task(task)


class _TimeLeft(TimeRemainingColumn):
    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["even"] else Text()


_bars: list[Progress] = []  # the one that is shown; rich has one at a time


def _lines(description: str, total: int | None, *, even: bool) -> Advance:
    start = latest = time.monotonic()
    done = 0

    def advance(n: int, what: str = "") -> None:
        nonlocal done, latest
        done += n
        now = time.monotonic()
        if now - latest < LINE_EVERY:
            return
        latest = now
        left = f", {(now - start) * (total - done) / done:.0f} s left" if even and total and done else ""
        doing = f"{description}, {what}" if what else description
        sys.stderr.write(f"{doing}: {done}{f' of {total}' if total else ''}{left}\n")
        sys.stderr.flush()

    return advance
