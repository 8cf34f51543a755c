"""Identification against the number of users: a tidy Parquet table, a page and a plot."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentfp.report.charts import Curve, write_curves
from latentfp.report.markdown import made_with, plain, table, thousands

COMMAND = "python -m latentfp.main --config=configs/studies/capacity.py:{generator} --workdir=DIR"
SHOWN = (1, 1000, 10**6)  # users in the table


def write_capacity(folder: Path, result: dict[str, Any]) -> Path:
    """Write capacity.parquet, .md and .svg, the result of studies.capacity.run."""
    rows = result["rows"]
    pq.write_table(pa.Table.from_pylist(tidy(result)), folder / "capacity.parquet")
    write_curves(
        folder / "capacity.svg", _curves(rows), x="registered users", y="share of files that name their user"
    )
    page = [
        f"# Capacity of {result['generator']}, {result['bits']} bits",
        f"{rows[0]['images']} files of every attack, family-wise rate {result['alpha']:g}, read by a decoder "
        "and a descent. Share of files that name their own user among so many, with exact 95 % intervals.",
        "![Share of files against the number of users](capacity.svg)",
        *(f"## {name}\n\n{_table(rows, name)}" for name in result["suites"]),
        made_with(COMMAND.format(generator=result["generator"])),
    ]
    path = folder / "capacity.md"
    path.write_text("\n\n".join(page) + "\n", encoding="utf-8")
    return path


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


def _curves(rows: list[dict[str, Any]]) -> dict[str, Curve]:
    """The undamaged files, and the mean over the attacks of every suite."""
    clean = next(row for row in rows if row["attack"] == "none")
    curves = {"clean": _curve([clean])}
    for name in dict.fromkeys(row["suite"] for row in rows):
        curves[name] = _curve([row for row in rows if row["suite"] == name and row["attack"] != "none"])
    return curves


def _curve(rows: list[dict[str, Any]]) -> Curve:
    users = [cell["users"] for cell in rows[0]["named"]]
    return Curve(users, np.mean([[cell["share"] for cell in row["named"]] for row in rows], axis=0).tolist())


def _table(rows: list[dict[str, Any]], name: str) -> str:
    chosen = [row for row in rows if row["suite"] == name]
    columns = {
        "attack": [plain(row["attack"]) for row in chosen],
        "bits right": [f"{row['bit_accuracy']:.1%}" for row in chosen],
    }
    for users in SHOWN:
        cells = [next((it for it in row["named"] if it["users"] == users), None) for row in chosen]
        if None not in cells:
            columns[f"named, {thousands(users)}"] = [
                f"{it['share']:.0%} ({100 * it['interval'][0]:.0f} … {100 * it['interval'][1]:.0f})"
                for it in cells
                if it
            ]
    return table(columns)
