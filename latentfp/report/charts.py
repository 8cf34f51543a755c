"""Plots of measurements, as SVG files whose bytes depend on the numbers alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

INK, SOFT, LINE, ACCENT = "#20242a", "#5d646d", "#e3e0d9", "#2f5d8a"
MARKS = ((ACCENT, "o"), ("#c2571a", "D"), ("#3b7d4f", "s"), (SOFT, "x"), (INK, "v"))  # of series, in order
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "latentfp",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}


@contextmanager
def panels(
    path: Path,
    titles: Sequence[str],
    *,
    width: float,
    height: float,
    margin: float = 0.0,
    shared: bool = False,
) -> Iterator[list[Axes]]:
    """Panels side by side, to be drawn in the block; at its end they are written to `path`.

    `width` of each and `height`, in inches; `margin`: further width on the left; `shared`: one y axis for
    all. The folder is made; series that have a label are explained below the panels.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(margin + width * len(titles), height), layout="constrained")
        grid = list(figure.subplots(1, len(titles), squeeze=False, sharey=shared)[0])
        for axes, title in zip(grid, titles, strict=True):
            axes.set_title(title)
        yield grid
        labelled = grid[0].get_legend_handles_labels()
        if labelled[0]:
            figure.legend(*labelled, loc="outside lower right", ncols=3, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def series(
    axes: Axes,
    x: ArrayLike,
    y: ArrayLike,
    *,
    mark: int = 0,
    label: str | None = None,
    x_intervals: ArrayLike | None = None,
    y_intervals: ArrayLike | None = None,
    **style: Any,
) -> None:
    """Points [n] with intervals [n 2]; those of which a coordinate is None are left out.

    `mark`: which of MARKS. `style`: of matplotlib's `errorbar`, such as linestyle="-" for a line.
    """
    x, y = np.array(x, float), np.array(y, float)  # None is NaN, which is not drawn
    colour, marker = MARKS[mark % len(MARKS)]
    given = {"linestyle": "none", "color": colour, "marker": marker, "markersize": 4.5, "capsize": 2, **style}
    axes.errorbar(x, y, _errors(y, y_intervals), _errors(x, x_intervals), label=label, **given)


def diagonal(axes: Axes, low: float, high: float) -> None:
    """A dashed line of equal coordinates."""
    axes.plot([low, high], [low, high], color=SOFT, linewidth=1, linestyle="--")


def _errors(values: np.ndarray, intervals: ArrayLike | None) -> np.ndarray | None:
    return None if intervals is None else np.abs(np.array(intervals, float).T - values)
