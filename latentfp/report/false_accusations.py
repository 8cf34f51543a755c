"""Observed false accusations against the promised rates: tables, and a plot with binomial intervals."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from latentfp.report.charts import ACCENT, SOFT, diagonal, panels, series
from latentfp.report.markdown import Cell, Row, count, table, thousands, write_page

ALL = "all"  # kinds of images together
READINGS: dict[str, Cell] = {
    "kind": "{kind}",
    "files": "{images}",
    "effective bits": "{effective_bits:.1f}",
    "largest bias of a bit": "{largest_bias:.2f}",
    "least rate that so many files support": "{supported_rate:.1g}",
}


def write_false_accusations(folder: Path, result: dict[str, Any]) -> Path:
    """Write false_accusations.md and .svg, the result of studies.false_accusations.run."""
    rows = result["rates"]
    cells = [(row, alpha, it) for row in rows for alpha, it in row["promised"].items()]
    above = [(row, alpha) for row, alpha, it in cells if it["interval"][0] > float(alpha)]
    named = "; ".join(f"{row['kind']} with {row['users']} users at {alpha}" for row, alpha in above) or "none"
    images = next(row["images"] for row in rows if row["kind"] == ALL)
    _plot(folder / "false_accusations.svg", result)
    return write_page(
        folder / "false_accusations.md",
        result,
        f"# False accusations, method {result['method']}",
        f"{images} files that bear no registered code, saved with 8 bits a value. Share of them that is "
        "attributed to anyone, over all draws of the codes; in brackets the exact 95 % interval as if only "
        "one draw had been seen. *Worst* is the rate of the draw with the most. Images of a kind depend on "
        "each other, which the intervals do not know.",
        f"Of {len(cells)} cells (kind, users, promise) the interval lies above the promise in: {named}.",
        "![Observed against promised](false_accusations.svg)",
        *(_table(result, users) for users in result["users"]),
        "## Whole cases",
        "Share of cases, of files of all kinds mixed, in which anyone is named for any file when α is the "
        "case's (Holm's step-down).",
        table(result["cases"], {**_of_cases(result["cases"]), "draws of the codes": "{deployments}"}),
        "Files that are judged together as of one origin (`--together`), although they are of all kinds:",
        table(result["together"], _of_cases(result["together"])),
        "## Dependence of the bits read",
        table(({"kind": kind, **it} for kind, it in result["readings"].items()), READINGS),
    )


def _table(result: dict[str, Any], users: int) -> str:
    rows = [row for row in result["rates"] if row["users"] == users]
    columns: dict[str, Cell] = {"kind": "{kind}", "files": "{images}"}
    for alpha in rows[0]["promised"]:
        columns[f"promised {alpha}"] = partial(_rate, alpha)
        columns[f"worst, {alpha}"] = f"{{promised[{alpha}][worst]:.2g}}"
    return (
        f"## {thousands(users)} registered, {count(rows[0]['deployments'], 'draw')}\n\n{table(rows, columns)}"
    )


def _of_cases(cases: list[dict[str, Any]]) -> dict[str, Cell]:
    columns: dict[str, Cell] = {"users": "{users}", "files a case": "{files}", "cases": "{cases}"}
    return columns | {f"promised {alpha}": f"{{promised[{alpha}]:.2g}}" for alpha in cases[0]["promised"]}


def _rate(alpha: str, row: Row) -> str:
    it = row["promised"][alpha]
    low, high = it["interval"]
    return f"{it['rate']:.2g} ({low:.2g} … {high:.2g})"


def _plot(path: Path, result: dict[str, Any]) -> None:
    """Observed against promised rates, logarithmic; rates of 0 lie on the lower edge."""
    rows = result["rates"]
    promised = [float(alpha) for row in rows for alpha in row["promised"]]
    limits = min(promised) / 5, max(promised) * 5
    titles = [f"{thousands(n)} user{'s' * (n > 1)}" for n in result["users"]]
    with panels(path, titles, width=3.3, height=3.5, shared=True) as grid:
        for axes, users in zip(grid, result["users"], strict=True):
            diagonal(axes, *limits)
            some = [row for row in rows if row["users"] == users]
            _rates(axes, [row for row in some if row["kind"] != ALL], SOFT, "one kind", limits[0])
            _rates(axes, [row for row in some if row["kind"] == ALL], ACCENT, "all kinds", limits[0])
            axes.set(xscale="log", yscale="log", xlabel="promised rate", xlim=limits, ylim=limits)
        grid[0].set_ylabel("observed rate")


def _rates(axes: Axes, rows: list[dict[str, Any]], colour: str, label: str, low: float) -> None:
    """Kinds stand beside each other."""
    found = [(float(alpha), it) for row in rows for alpha, it in row["promised"].items()]
    spread = 10 ** np.linspace(-0.25, 0.25, len(found)) if len(rows) > 1 else np.ones(len(found))
    x = np.array([alpha for alpha, _ in found]) * spread
    y = [max(it["rate"], low) for _, it in found]
    intervals = [np.maximum(it["interval"], low) for _, it in found]
    series(
        axes, x, y, y_intervals=intervals, label=label, color=colour, markersize=3, linewidth=0.9, capsize=0
    )
