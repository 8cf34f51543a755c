"""The accuracy study on paper: one table and one plot for every group of cells, in Markdown and SVG.

A cell is one setting: what was varied (`group`), to which `value`, and what was measured on how many images.
All-bits accuracy is the share of images with every bit right, the paper's measure; its 95 % interval is the
exact binomial one. Bit accuracy is the mean share of right bits: the bits of one image depend on each other,
so it has none.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from latentfp.report.charts import Panel, write_chart
from latentfp.report.markdown import made_with, number, percent_range, plain, table
from latentfp.report.parsing import parse
from latentfp.report.wording import duration

TITLES = {"paper": "The paper's full setting", "sigma": "Strength", "shift": "Shift", "attack": "Attack"}
AXES = {
    "paper": "setting",
    "sigma": "strength σ",
    "shift": "shift (first axis of the fingerprint)",
    "attack": "attack",
}
ORDERED = ("sigma", "shift")  # groups whose values are numbers


class Cell(NamedTuple):
    """One row of a table: `images` with `all_bits` of them right in every bit; psnr in dB."""

    group: Literal["paper", "sigma", "shift", "attack"]
    value: str
    images: int
    bit_accuracy: float
    all_bits: int
    interval: list[float]
    psnr: float | None
    frechet: float | None
    starts: int
    steps: int
    seconds_per_image: float

    @property
    def share(self) -> float:
        """All-bits accuracy."""
        return self.all_bits / self.images


class Study(NamedTuple):
    """`name` is the stem of every file written; `seconds` is the wall-clock time of the whole study."""

    name: str
    title: str
    command: str
    hardware: str
    seconds: float
    cells: list[Cell]


def write_study(folder: Path, result: dict[str, Any]) -> Path:
    """Write NAME.md, and NAME_GROUP.svg for every group of several cells; returns the path of NAME.md.

    `result` holds the fields of `Study`; `folder` is made if absent. ValueError where a field is missing or
    a cell contradicts itself.
    """
    study = parse(Study, result, "study")
    for i, cell in enumerate(study.cells):
        _check(cell, f"study.cells[{i}] ({cell.group} {cell.value})")
    folder.mkdir(parents=True, exist_ok=True)
    parts = [_heading(study)]
    for group, title in TITLES.items():
        cells = [cell for cell in study.cells if cell.group == group]
        if not cells:
            continue
        if group in ORDERED:
            cells.sort(key=lambda cell: float(cell.value))
        parts += [f"## {title}", _table(group, cells)]
        if len(cells) > 1:
            plot = f"{study.name}_{group}.svg"
            labels, panels = [cell.value for cell in cells], _panels(cells)
            write_chart(folder / plot, labels, panels, axis=AXES[group], joined=group in ORDERED)
            parts.append(f"![{title}]({plot})")
    page = folder / f"{study.name}.md"
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return page


def _check(cell: Cell, place: str) -> None:
    if not (0 <= cell.all_bits <= cell.images and cell.images > 0 and 0 <= cell.bit_accuracy <= 1):
        raise ValueError(
            f"{place} has {cell.all_bits} of {cell.images} images and bit accuracy {cell.bit_accuracy}, "
            "expected some images, at most all of them right, and an accuracy in [0, 1]"
        )
    if len(cell.interval) != 2 or not 0 <= cell.interval[0] <= cell.share <= cell.interval[1] <= 1:
        raise ValueError(
            f"{place} has the interval {cell.interval}, expected [lo, hi] around the share {cell.share:.3g} "
            "of images with all bits right: use binomial_interval(all_bits, images)"
        )
    if cell.group in ORDERED and not _is_number(cell.value):
        raise ValueError(f"{place} has the value {cell.value!r}, expected a number")


def _heading(study: Study) -> str:
    return (
        f"# {plain(study.title)}\n\n"
        f"{len(study.cells)} cells in {duration(study.seconds)} on {plain(study.hardware)}. "
        f"Intervals are 95 %, exact binomial (Clopper and Pearson). {made_with(study.command)}"
    )


def _panels(cells: list[Cell]) -> list[Panel]:
    intervals = [cell.interval for cell in cells]
    lowest = min(0.5, *(cell.bit_accuracy for cell in cells))
    panels = [
        Panel("images with all bits right", [cell.share for cell in cells], intervals, (0, 1)),
        Panel("bit accuracy", [cell.bit_accuracy for cell in cells], None, (lowest, 1)),
        Panel("PSNR, dB (more is fainter)", [cell.psnr for cell in cells]),
        Panel("Fréchet distance (less is better)", [cell.frechet for cell in cells]),
    ]
    return [panel for panel in panels if any(height is not None for height in panel.heights)]


def _table(group: str, cells: list[Cell]) -> str:
    columns = {
        AXES[group]: [plain(cell.value) for cell in cells],
        "images": [str(cell.images) for cell in cells],
        "all bits right": [f"{cell.all_bits} ({100 * cell.share:.0f} %)" for cell in cells],
        "95 % interval": [percent_range(cell.interval) for cell in cells],
        "bit accuracy": [f"{100 * cell.bit_accuracy:.2f} %" for cell in cells],
        "PSNR (dB)": [number(cell.psnr, ".1f") for cell in cells],
        "Fréchet": [number(cell.frechet, ".3g") for cell in cells],
        "starts × steps": [f"{cell.starts} × {cell.steps}" for cell in cells],
        "s/image": [f"{cell.seconds_per_image:.3g}" for cell in cells],
    }
    return table(columns)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
