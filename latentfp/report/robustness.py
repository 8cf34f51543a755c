"""The robustness study on paper: tables in Markdown, accuracy by attack and reliability diagrams in SVG.

All-bits accuracy is the share of images with every bit right; its 95 % interval is the exact binomial one.
Bit accuracy has none: the bits of one image depend on each other.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from latentfp.report.charts import MARKS, diagonal, panels, series
from latentfp.report.markdown import Cell, Row, count, duration, percent_range, plain, table, write_page

METHODS = {"encoder": "encoder", "decoder": "decoder", "refine": "descent"}
CLEAN = "none"


def write_robustness(folder: Path, result: dict[str, Any]) -> Path:
    """Write NAME.md, NAME.svg and NAME_reliability.svg, the result of studies.robustness.run."""
    name, rows = result["name"], result["rows"]
    methods = {method: words for method, words in METHODS.items() if method in rows[0]["methods"]}
    _plot(folder / f"{name}.svg", result, methods)
    _reliability(folder / f"{name}_reliability.svg", result, methods)
    pooled = {
        "attack": "all",
        "methods": {m: {"calibration": found} for m, found in result["pooled"].items()},
    }
    return write_page(
        folder / f"{name}.md",
        result,
        f"# {plain(result['title'])}",
        f"σ {result['sigma']:g}, {plain(result['coding'])} codes of {result['bits']} bits, {len(rows)} "
        f"attacks in {duration(result['seconds'])}. No method is told the "
        "attack. Intervals are 95 %, exact binomial (Clopper and Pearson).",
        "## Accuracy",
        _accuracies(rows, methods),
        f"![Accuracy by attack]({name}.svg)",
        *_searched(result, methods),
        "## Calibration",
        "Expected calibration error of the bits in 15 bins, and Brier score (0.25: undecided).",
        _calibrations([*rows, pooled], methods),
        f"![Reliability diagrams]({name}_reliability.svg)",
    )


def _accuracies(rows: Sequence[Row], methods: dict[str, str]) -> str:
    columns: dict[str, Cell] = {"attack": "{attack}"}
    for method, words in methods.items():
        columns[f"{words}: bits"] = f"{{methods[{method}][bit_accuracy]:.2%}}"
        columns[f"{words}: all bits"] = partial(_complete, method)
    return table(rows, {**columns, "images": lambda row: _images(row, methods)})


def _complete(method: str, row: Row) -> str:
    it = row["methods"][method]
    return f"{it['all_bits'] / it['images']:.1%} ({percent_range(it['interval'])})"


def _images(row: Row, methods: dict[str, str]) -> str:
    """How many there were, once where it is the same for all methods."""
    counts = {words: row["methods"][method]["images"] for method, words in methods.items()}
    if len(set(counts.values())) == 1:
        return str(next(iter(counts.values())))
    return ", ".join(f"{words} {images}" for words, images in counts.items())


def _searched(result: dict[str, Any], methods: dict[str, str]) -> list[str]:
    rows, it = [row for row in result["rows"] if row["reference"] is not None], result["search"]
    if not rows:
        return []
    columns = {
        words: f"{{methods[{method}][same_images][bit_accuracy]:.2%}}" for method, words in methods.items()
    }
    return [
        "## Against the paper's search",
        f"Bit accuracy on the first {count(it['images'], 'image')} of those. The search has "
        f"{count(it['starts'], 'start')} of {count(it['steps'], 'step')}; the paper's has 20 of 2000.",
        table(rows, {"attack": "{attack}", **columns, "the paper's search": "{reference[bit_accuracy]:.2%}"}),
    ]


def _calibrations(rows: Sequence[Row], methods: dict[str, str]) -> str:
    columns: dict[str, Cell] = {"attack": "{attack}"}
    for method, words in methods.items():
        columns[f"{words}: error"] = f"{{methods[{method}][calibration][expected_calibration_error]:.4f}}"
        columns[f"{words}: Brier"] = f"{{methods[{method}][calibration][brier]:.4f}}"
    return table(rows, columns)


def _plot(path: Path, result: dict[str, Any], methods: dict[str, str]) -> None:
    """A line for every attack, downwards, a mark for every method."""
    rows, titles = result["rows"], ("bit accuracy", "images with all bits right")
    height = 1.1 + 0.24 * len(rows)
    with panels(path, titles, width=3.2, height=height, margin=2.2, shared=True) as (bits, complete):
        marks = [*methods, *(["reference"] * any(row["reference"] for row in rows))]
        for i, method in enumerate(marks):
            places = np.arange(len(rows)) + 0.16 * (i - (len(marks) - 1) / 2)
            found = [row["reference"] if method == "reference" else row["methods"][method] for row in rows]
            searched = f"the paper's search, {count(result['search']['images'], 'image')}"
            label = methods.get(method, searched)
            series(bits, [it and it["bit_accuracy"] for it in found], places, mark=i, label=label)
            if method in methods:
                shares = [it["all_bits"] / it["images"] for it in found]
                series(complete, shares, places, mark=i, x_intervals=[it["interval"] for it in found])
        for axes in (bits, complete):
            axes.set_xlim(-0.03, 1.03)
        bits.set_yticks(range(len(rows)), [row["attack"] for row in rows])
        bits.set_ylim(len(rows) - 0.4, -0.6)


def _reliability(path: Path, result: dict[str, Any], methods: dict[str, str]) -> None:
    """Share of right bits against confidence; the area of a mark is its share of the bits."""
    clean = [row["methods"] for row in result["rows"] if row["attack"] == CLEAN]
    diagrams = {"no attack": {m: it["calibration"] for m, it in clean[0].items()}} if clean else {}
    diagrams["all attacks"] = result["pooled"]
    with panels(path, list(diagrams), width=3.3, height=3.5) as grid:
        for axes, found in zip(grid, diagrams.values(), strict=True):
            diagonal(axes, 0.5, 1.0)
            for i, (method, words) in enumerate(methods.items()):
                _bins(axes, found[method], i, words)
            axes.set_xlabel("confidence of a bit")
        grid[0].set_ylabel("share of right bits")


def _bins(axes: Axes, found: Row, mark: int, label: str) -> None:
    """One method: of each bin that is not empty its mean confidence and its share of right bits."""
    bits, right, confidence = (np.array(found[name], float) for name in ("bits", "right", "confidence"))
    full = bits > 0
    x, y = confidence[full] / bits[full], right[full] / bits[full]
    colour, marker = MARKS[mark]
    series(axes, x, y, mark=mark, label=label, linestyle="-", linewidth=1, markersize=4)
    axes.scatter(x, y, s=12 + 140 * bits[full] / bits.sum(), c=colour, marker=marker)
