"""The accuracy study on paper: one table and one plot for every group of cells, in Markdown and SVG.

A cell is one setting: what was varied (`group`), to which `value`, and what was measured on how many images.
All-bits accuracy is the share of images with every bit right, the paper's measure; its 95 % interval is the
exact binomial one. Bit accuracy is the mean share of right bits: the bits of one image depend on each other,
so it has none.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentfp.report.charts import panels, series
from latentfp.report.markdown import Row, duration, percent_range, plain, table, write_page

TITLES = {"paper": "The paper's full setting", "sigma": "Strength", "shift": "Shift", "attack": "Attack"}
AXES = {
    "paper": "setting",
    "sigma": "strength σ",
    "shift": "shift (first axis of the fingerprint)",
    "attack": "attack",
}
ORDERED = ("sigma", "shift")  # groups whose values are numbers


def write_accuracy(folder: Path, result: dict[str, Any]) -> Path:
    """Write NAME.md, the result of studies.accuracy.run, and NAME_GROUP.svg for groups of several cells."""
    name = result["name"]
    parts = [
        f"# {plain(result['title'])}",
        f"{len(result['cells'])} cells in {duration(result['seconds'])}. "
        "Intervals are 95 %, exact binomial (Clopper and Pearson).",
    ]
    for group, title in TITLES.items():
        cells = [cell for cell in result["cells"] if cell["group"] == group]
        if not cells:
            continue
        if group in ORDERED:
            cells.sort(key=lambda cell: float(cell["value"]))
        parts += [f"## {title}", _table(group, cells)]
        if len(cells) > 1:
            _plot(folder / f"{name}_{group}.svg", group, cells)
            parts.append(f"![{title}]({name}_{group}.svg)")
    return write_page(folder / f"{name}.md", result, *parts)


def _table(group: str, cells: Sequence[Row]) -> str:
    return table(
        cells,
        {
            AXES[group]: "{value}",
            "images": "{images}",
            "all bits right": lambda it: f"{it['all_bits']} ({it['all_bits'] / it['images']:.0%})",
            "95 % interval": lambda it: percent_range(it["interval"]),
            "bit accuracy": "{bit_accuracy:.2%}",
            "PSNR (dB)": "{psnr:.1f}",
            "Fréchet": "{frechet:.3g}",
            "starts × steps": "{starts} × {steps}",
            "s/image": "{seconds_per_image:.3g}",
        },
    )


def _plot(path: Path, group: str, cells: Sequence[Row]) -> None:
    shares = {
        "images with all bits right": [cell["all_bits"] / cell["images"] for cell in cells],
        "bit accuracy": [cell["bit_accuracy"] for cell in cells],
    }
    others = {
        "PSNR, dB (more is fainter)": [cell["psnr"] for cell in cells],
        "Fréchet distance (less is better)": [cell["frechet"] for cell in cells],
    }
    shown = {title: heights for title, heights in {**shares, **others}.items() if set(heights) != {None}}
    intervals = {"images with all bits right": [cell["interval"] for cell in cells]}
    line = "-" if group in ORDERED else "none"
    places = range(len(cells))
    with panels(path, list(shown), width=3.3, height=2.9) as grid:
        for axes, (title, heights) in zip(grid, shown.items(), strict=True):
            series(axes, places, heights, y_intervals=intervals.get(title), linestyle=line)
            axes.grid(visible=False, axis="x")
            axes.set(xlim=(-0.5, len(cells) - 0.5), xlabel=AXES[group])
            axes.set_xticks(places, [cell["value"] for cell in cells])
            if title in shares:
                low = min(0.5, *heights) if title == "bit accuracy" else 0.0
                axes.set_ylim(low - 0.04 * (1 - low), 1 + 0.04 * (1 - low))
