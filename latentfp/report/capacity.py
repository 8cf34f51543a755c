"""Identification against the number of users: a tidy Parquet table, a page and a plot."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentfp.report.charts import panels, series
from latentfp.report.markdown import Cell, Row, table, thousands, write_page

READ_BY = {
    "auto": "the default method",
    "refine": "a decoder and a descent",
    "encoder": "the generator's own encoder alone",
    "decoder": "a decoder alone",
    "multistart": "descents from several starts",
    "reference": "the paper's search",
}
SHOWN = (1, 1000, 10**6)  # users in the table


def write_capacity(folder: Path, result: dict[str, Any]) -> Path:
    """Write capacity.parquet, .md and .svg, the result of studies.capacity.run."""
    rows = result["rows"]
    suites = dict.fromkeys(row["suite"] for row in rows)
    _plot(folder / "capacity.svg", rows)
    pq.write_table(pa.Table.from_pylist(tidy(result)), folder / "capacity.parquet")
    return write_page(
        folder / "capacity.md",
        result,
        f"# Capacity of {result['generator']}, {result['bits']} bits",
        f"{rows[0]['images']} {_cases(result)} of every attack, family-wise rate {result['alpha']:g}, read "
        f"by {READ_BY[result['method']]}. Share that names its own user among so many, with exact 95 % "
        f"intervals. Median PSNR of images with a code to those without: {result['psnr']:.1f} dB.",
        "![Share of files against the number of users](capacity.svg)",
        *(f"## {name}\n\n{_table(rows, name)}" for name in suites),
    )


def _cases(result: dict[str, Any]) -> str:
    """What was judged: a file, or several together."""
    return "files" if result.get("files", 1) == 1 else f"cases of {result['files']} files of one origin"


def tidy(result: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for every attack and number of users."""
    return [
        {
            "generator": result["generator"],
            "suite": row["suite"],
            "attack": row["attack"],
            "images": row["images"],
            "bit_accuracy": row["bit_accuracy"],
            "users": cell["users"],
            "named": cell["files"],
            "low": cell["interval"][0],
            "high": cell["interval"][1],
        }
        for row in result["rows"]
        for cell in row["named"]
    ]


def _plot(path: Path, rows: list[dict[str, Any]]) -> None:
    """The undamaged files where they were measured, and the mean over the attacks of every suite."""
    curves = {"clean": [row for row in rows if row["attack"] == "none"][:1]}
    for row in rows:
        if row["attack"] != "none":
            curves.setdefault(row["suite"], []).append(row)
    curves = {name: some for name, some in curves.items() if some}
    with panels(path, [""], width=6.2, height=3.6) as (axes,):
        for i, (name, some) in enumerate(curves.items()):
            users = [cell["users"] for cell in some[0]["named"]]
            shares = np.mean([[cell["share"] for cell in row["named"]] for row in some], axis=0)
            series(axes, users, shares, mark=i, label=name, linestyle="-", linewidth=1.2)
        axes.set(xscale="log", xlabel="registered users", ylabel="share of files that name their user")
        axes.set_ylim(-0.03, 1.03)


def _table(rows: list[dict[str, Any]], name: str) -> str:
    chosen = [row for row in rows if row["suite"] == name]
    columns: dict[str, Cell] = {"attack": "{attack}", "bits right": "{bit_accuracy:.1%}"}
    for users in SHOWN:
        if all(users in (cell["users"] for cell in row["named"]) for row in chosen):
            columns[f"named, {thousands(users)}"] = partial(_named, users)
    return table(chosen, columns)


def _named(users: int, row: Row) -> str:
    cell = next(cell for cell in row["named"] if cell["users"] == users)
    low, high = cell["interval"]
    return f"{cell['share']:.0%} ({100 * low:.0f} … {100 * high:.0f})"
