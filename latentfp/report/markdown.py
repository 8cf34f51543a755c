"""Pages of results in Markdown: tables, numbers and counts in words, and how the page was made."""

import math
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latentfp.runtime.provenance import command

NOTHING = "–"  # where nothing was measured
Row = Mapping[str, Any]
Cell = str | Callable[[Any], str]


def write_page(path: Path, result: Row, *parts: str) -> Path:
    """Write the parts as paragraphs, and below them what made the result; returns the path.

    `result`: its `hardware`, and the `code`, the versions of the package that measured it.
    """
    made = f"Measured by latentfp {', '.join(result['code'])} on {plain(result['hardware'])}, with"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join([*parts, made, f"    {command()}"]) + "\n", encoding="utf-8")
    return path


def table(rows: Iterable[Any], columns: Mapping[str, Cell]) -> str:
    """A table, the first column to the left; columns in which nothing was measured are left out.

    A column is a function of a row, or a format of its fields: "{share:.1%} of {images}". There text appears
    as it is, whatever signs it holds, and None as a dash.
    """
    rows = list(rows)
    cells = {title: [_cell(column, row) for row in rows] for title, column in columns.items()}
    shown = {title: column for title, column in cells.items() if set(column) != {NOTHING}}
    lines = [list(shown), ["---", *["---:"] * (len(shown) - 1)], *zip(*shown.values(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class _Fields(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return NOTHING
        return plain(value) if isinstance(value, str) else super().format_field(value, format_spec)


def _cell(column: Cell, row: Any) -> str:
    return _Fields().vformat(column, (), row) if isinstance(column, str) else column(row)


def number(value: float | None, form: str) -> str:
    """A number as `form` says, or a dash for None."""
    return NOTHING if value is None else format(value, form)


def percent_range(interval: Sequence[float]) -> str:
    """An interval of shares in per cent."""
    low, high = interval
    return f"{100 * low:.1f} … {100 * high:.1f}%"


def plain(value: str) -> str:
    """One line that Markdown shows as it is."""
    return "".join(f"\\{sign}" if sign in "\\|<>*_`[]#&" else sign for sign in " ".join(value.split()))


def thousands(value: int) -> str:
    """An integer with a space between thousands."""
    return f"{value:,}".replace(",", " ")


def duration(seconds: float) -> str:
    """Seconds below two minutes, minutes and seconds below two hours, hours and minutes above."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(math.floor(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def count(number: int, noun: str) -> str:
    """1 file, 2 files."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
