"""Plots of measurements, as SVG files whose bytes depend on the numbers alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, SOFT, LINE, ACCENT = "#20242a", "#5d646d", "#e3e0d9", "#2f5d8a"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "latentfp",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}


class Panel(NamedTuple):
    """A height for every label, None where nothing was measured, and intervals [lo, hi] if there are any."""

    title: str
    heights: Sequence[float | None]
    intervals: Sequence[Sequence[float]] | None = None
    limits: tuple[float, float] | None = None


def write_chart(
    path: Path, labels: Sequence[str], panels: Sequence[Panel], *, axis: str, joined: bool
) -> None:
    """Write panels side by side over evenly spaced labels; `joined` draws a line through the points."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.3 * len(panels), 2.9), layout="constrained")
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _draw(axes, panel, "-" if joined else "none")
            axes.set_xticks(range(len(labels)), labels)
            axes.set_xlim(-0.5, len(labels) - 0.5)
            axes.set_xlabel(axis)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _draw(axes: Axes, panel: Panel, line: str) -> None:
    places, heights = zip(*((i, h) for i, h in enumerate(panel.heights) if h is not None), strict=True)
    errors = None
    if panel.intervals is not None:
        ends = np.array([panel.intervals[i] for i in places]).T
        errors = np.abs(ends - np.array([heights]))
    axes.errorbar(places, heights, errors, color=ACCENT, linestyle=line, marker="o", markersize=5, capsize=3)
    axes.set_title(panel.title)
    if panel.limits is not None:
        low, high = panel.limits
        margin = 0.04 * (high - low)
        axes.set_ylim(low - margin, high + margin)
