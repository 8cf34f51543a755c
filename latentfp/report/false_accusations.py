"""Observed false accusations against the promised rates: tables, and a plot with binomial intervals."""

from pathlib import Path
from typing import Any

from latentfp.report.charts import Rate, write_rates
from latentfp.report.markdown import made_with, table, thousands

COMMAND = "python -m latentfp.main --config=configs/studies/false_accusations.py:{method} --workdir=DIR"
ALL = "all"


def write_false_accusations(folder: Path, result: dict[str, Any]) -> Path:
    """Write false_accusations.md and .svg, the result of studies.false_accusations.run."""
    rows = result["rates"]
    panels = {f"{thousands(n)} user{'s' * (n > 1)}": _panel(rows, n) for n in result["users"]}
    write_rates(folder / "false_accusations.svg", panels)
    above = [(row, alpha) for row, alpha, promised in _cells(rows) if promised["interval"][0] > float(alpha)]
    named = "; ".join(f"{row['kind']} with {row['users']} users at {alpha}" for row, alpha in above) or "none"
    images = next(row["images"] for row in rows if row["kind"] == ALL)
    page = [
        f"# False accusations, method {result['method']}",
        f"{images} files that bear no registered code, saved with 8 bits a value. Share of them that is "
        "attributed to anyone, over all secrets; in brackets the exact 95 % interval as if only one secret "
        "had been seen. *Worst* is the rate of the secret with the most. Images of a kind hang together, "
        "which the intervals do not know.",
        f"Of {sum(1 for _ in _cells(rows))} cells (kind, users, promise) the interval lies above the promise "
        f"in: {named}.",
        "![Observed against promised](false_accusations.svg)",
        *(_table(result, users) for users in result["users"]),
        "## Dependence of readings",
        _dependence(result["readings"]),
        made_with(COMMAND.format(method=result["method"])),
    ]
    path = folder / "false_accusations.md"
    path.write_text("\n\n".join(page) + "\n", encoding="utf-8")
    return path


def _cells(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str, dict[str, Any]]]:
    return [(row, alpha, it) for row in rows for alpha, it in row["promised"].items()]


def _panel(rows: list[dict[str, Any]], users: int) -> list[Rate]:
    return [
        Rate(float(alpha), it["rate"], it["interval"], row["kind"] == ALL)
        for row, alpha, it in _cells(rows)
        if row["users"] == users
    ]


def _table(result: dict[str, Any], users: int) -> str:
    rows = [row for row in result["rates"] if row["users"] == users]
    columns = {"kind": [row["kind"] for row in rows], "files": [str(row["images"]) for row in rows]}
    for alpha in rows[0]["promised"]:
        found = [row["promised"][alpha] for row in rows]
        columns[f"promised {alpha}"] = [_share(it) for it in found]
        columns[f"worst, {alpha}"] = [f"{it['worst']:.2g}" for it in found]
    secrets = rows[0]["deployments"]
    title = f"## {thousands(users)} registered, {secrets} secret{'s' * (secrets > 1)}"
    return f"{title}\n\n{table(columns)}"


def _share(it: dict[str, Any]) -> str:
    low, high = it["interval"]
    return f"{it['rate']:.2g} ({low:.2g} … {high:.2g})"


def _dependence(readings: dict[str, dict[str, Any]]) -> str:
    rows = readings.values()
    return table(
        {
            "kind": list(readings),
            "files": [str(it["images"]) for it in rows],
            "effective bits": [f"{it['effective_bits']:.1f}" for it in rows],
            "largest bias of a bit": [f"{it['largest_bias']:.2f}" for it in rows],
            "least rate that so many files support": [f"{it['supported_rate']:.1g}" for it in rows],
        }
    )
