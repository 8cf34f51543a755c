"""Plots of measurements, as SVG files whose bytes depend on the numbers alone."""

from collections.abc import Mapping, Sequence
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


class Series(NamedTuple):
    """A value for every label, None where nothing was measured, and intervals [lo, hi] if there are any."""

    name: str
    values: Sequence[float | None]
    intervals: Sequence[Sequence[float] | None] | None = None


MARKERS = ((ACCENT, "o"), ("#c2571a", "D"), ("#3b7d4f", "s"), (SOFT, "x"))


def write_rows(path: Path, labels: Sequence[str], panels: Mapping[str, Sequence[Series]]) -> None:
    """Write panels of shares in [0, 1] side by side: a line for every label, downwards, a mark a series."""
    with matplotlib.rc_context({**STYLE, "axes.grid.axis": "both"}):
        height = 1.1 + 0.24 * len(labels)
        figure = Figure(figsize=(2.2 + 3.2 * len(panels), height), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axes, (title, several) in zip(grid, panels.items(), strict=True):
            for i, series in enumerate(several):
                _mark(axes, series, *MARKERS[i], shift=0.16 * (i - (len(several) - 1) / 2))
            axes.set_title(title)
            axes.set_xlim(-0.03, 1.03)
        grid[0].set_yticks(range(len(labels)), labels)
        grid[0].set_ylim(len(labels) - 0.4, -0.6)
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower right", ncols=3, frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _mark(axes: Axes, series: Series, colour: str, marker: str, *, shift: float) -> None:
    shown = [(i, value) for i, value in enumerate(series.values) if value is not None]
    places, values = [i + shift for i, _ in shown], [value for _, value in shown]
    errors = None
    if series.intervals is not None:
        ends = np.array([series.intervals[i] for i, _ in shown], float).reshape(-1, 2).T
        errors = np.abs(ends - np.array([values]))
    style = {"linestyle": "none", "marker": marker, "markersize": 4.5, "capsize": 2, "color": colour}
    axes.errorbar(values, places, xerr=errors, label=series.name, **style)


class Bins(NamedTuple):
    """Of each bin that is not empty: mean confidence, share of right bits, and share of all bits."""

    name: str
    confidence: Sequence[float]
    right: Sequence[float]
    weight: Sequence[float]


def write_reliability(path: Path, panels: Mapping[str, Sequence[Bins]]) -> None:
    """Write reliability diagrams side by side; the area of a mark is its share of the bits."""
    with matplotlib.rc_context({**STYLE, "axes.grid.axis": "both"}):
        figure = Figure(figsize=(3.3 * len(panels), 3.5), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (title, several) in zip(grid, panels.items(), strict=True):
            axes.plot([0.5, 1], [0.5, 1], color=SOFT, linewidth=1, linestyle="--")
            for i, bins in enumerate(several):
                colour, marker = MARKERS[i]
                areas = 12 + 140 * np.asarray(bins.weight)
                style = {"color": colour, "linewidth": 1, "marker": marker, "markersize": 4}
                axes.plot(bins.confidence, bins.right, label=bins.name, **style)
                axes.scatter(bins.confidence, bins.right, areas, colour, marker)
            axes.set_title(title)
            axes.set_xlabel("confidence of a bit")
        grid[0].set_ylabel("share of right bits")
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower right", ncols=2, frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


class Curve(NamedTuple):
    """Shares in [0, 1] over positive numbers."""

    places: Sequence[float]
    shares: Sequence[float]


def write_curves(path: Path, curves: Mapping[str, Curve], *, x: str, y: str) -> None:
    """Write shares as lines over a logarithmic axis, one colour and mark a curve."""
    colours = (INK, ACCENT, "#c2571a", "#3b7d4f", SOFT)
    with matplotlib.rc_context({**STYLE, "axes.grid.axis": "both"}):
        figure = Figure(figsize=(6.2, 3.6), layout="constrained")
        axes = figure.subplots()
        for i, (name, curve) in enumerate(curves.items()):
            style = {"color": colours[i % len(colours)], "marker": "osD^v"[i % 5], "markersize": 3.5}
            axes.plot(curve.places, curve.shares, label=name, linewidth=1.2, **style)
        axes.set(xscale="log", xlabel=x, ylabel=y, ylim=(-0.03, 1.03))
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def write_scatter(path: Path, points: Mapping[str, Sequence[tuple[float, float]]], *, x: str, y: str) -> None:
    """Write measured against predicted shares, one colour a series, with the line on which they are equal."""
    with matplotlib.rc_context({**STYLE, "axes.grid.axis": "both"}):
        figure = Figure(figsize=(4.6, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.plot([0.45, 1], [0.45, 1], color=SOFT, linewidth=1, linestyle="--")
        for i, (name, pairs) in enumerate(points.items()):
            colour, marker = MARKERS[i % len(MARKERS)]
            predicted, measured = zip(*pairs, strict=True)
            axes.scatter(predicted, measured, s=22, c=colour, marker=marker, label=name, linewidths=0.8)
        axes.set(xlabel=x, ylabel=y)
        axes.legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


Place = tuple[float, float]


def write_fronts(
    path: Path, panels: Mapping[str, tuple[Sequence[Place], Sequence[Place]]], *, x: str, y: str
) -> None:
    """Write panels side by side: all points, and those that no other beats, as a line."""
    with matplotlib.rc_context({**STYLE, "axes.grid.axis": "both"}):
        figure = Figure(figsize=(2.9 * len(panels), 3.0), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axes, (title, (points, best)) in zip(grid, panels.items(), strict=True):
            axes.plot(*zip(*points, strict=True), linestyle="none", marker="o", markersize=3.5, color=SOFT)
            axes.plot(*zip(*best, strict=True), marker="o", markersize=4, linewidth=1.2, color=ACCENT)
            axes.set(title=title, xlabel=x)
        grid[0].set_ylabel(y)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


class Rate(NamedTuple):
    """An observed rate with its interval [lo, hi] against what was promised; `whole`: of everything."""

    promised: float
    observed: float
    interval: Sequence[float]
    whole: bool


def write_rates(path: Path, panels: Mapping[str, Sequence[Rate]]) -> None:
    """Write observed against promised rates side by side, logarithmic; rates of 0 lie on the lower edge."""
    with matplotlib.rc_context({**STYLE, "axes.grid.axis": "both"}):
        figure = Figure(figsize=(3.3 * len(panels), 3.5), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        promised = [rate.promised for rates in panels.values() for rate in rates]
        low, high = min(promised) / 5, max(promised) * 5
        for axes, (title, rates) in zip(grid, panels.items(), strict=True):
            axes.plot([low, high], [low, high], color=SOFT, linewidth=1, linestyle="--")
            for whole, colour, name in ((False, SOFT, "one kind"), (True, ACCENT, "all kinds")):
                _rates(axes, [rate for rate in rates if rate.whole == whole], colour, name, low=low)
            axes.set(title=title, xscale="log", yscale="log", xlabel="promised rate")
            axes.set(xlim=(low, high), ylim=(low, high))
        grid[0].set_ylabel("observed rate")
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower right", ncols=2, frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _rates(axes: Axes, rates: Sequence[Rate], colour: str, name: str, *, low: float) -> None:
    heights = np.array([max(rate.observed, low) for rate in rates])
    ends = np.array([np.maximum(rate.interval, low) for rate in rates]).T
    spread = 10 ** np.linspace(-0.25, 0.25, len(rates)) if not rates[0].whole else 1
    places = np.array([rate.promised for rate in rates]) * spread
    style = {"linestyle": "none", "marker": "o", "markersize": 3, "linewidth": 0.9, "color": colour}
    axes.errorbar(places, heights, np.abs(ends - heights), label=name, **style)
