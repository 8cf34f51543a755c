"""Numbers and tables in Markdown."""

import shlex
import sys
from collections.abc import Mapping, Sequence

NOTHING = "–"  # where nothing was measured


def table(columns: Mapping[str, Sequence[str]]) -> str:
    """A table with these columns, the first to the left; columns that hold nothing are left out."""
    shown = {name: column for name, column in columns.items() if set(column) != {NOTHING}}
    rows = [list(shown), ["---", *["---:"] * (len(shown) - 1)], *zip(*shown.values(), strict=True)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def number(value: float | None, form: str) -> str:
    """A number as `form` says, or a dash for none."""
    return NOTHING if value is None else format(value, form)


def percent_range(interval: Sequence[float]) -> str:
    """An interval of shares in per cent."""
    low, high = interval
    return f"{100 * low:.1f} … {100 * high:.1f} %"


def plain(value: str) -> str:
    """One line that Markdown shows as it is."""
    return "".join(f"\\{sign}" if sign in "\\|<>*_`[]#&" else sign for sign in " ".join(value.split()))


def made_with(command: str) -> str:
    """The command, as a block, with the changes that this process was given on its own command line."""
    changes = [shlex.quote(word) for word in sys.argv[1:] if word.startswith("--config.")]
    return f"Made with\n\n    {' '.join([*command.split(), *changes])}"


def thousands(value: int) -> str:
    """An integer with a space between thousands."""
    return f"{value:,}".replace(",", " ")
