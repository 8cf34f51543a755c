"""Predicted against measured accuracy and quality of designs: a page, and a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentfp.report.charts import SOFT, diagonal, panels, series
from latentfp.report.markdown import Row, number, table, write_page

DESIGN = {"attack": "{attack}", "σ": "{sigma:g}", "first axis": "{shift}", "bits": "{bits}"}
MEASURED = {"right bits": "{measured[accuracy]:.1%}", "PSNR, dB": "{measured[psnr]:.1f}"}
PREDICTED = {"predicted": "{predicted[accuracy]:.1%}", "PSNR predicted": "{predicted[psnr]:.1f}"}


def write_design(folder: Path, result: dict[str, Any]) -> Path:
    """Write design.md, design.svg and design_front.svg, the result of studies.design.run."""
    ranks, rows = result["rank_correlation"], result["rows"]
    attacks = dict.fromkeys(row["attack"] for row in rows)
    by_attack = {name: [row for row in rows if row["attack"] == name] for name in attacks}
    best = {attack: front(some) for attack, some in by_attack.items()}
    _plot_prediction(folder / "design.svg", by_attack)
    _plot_fronts(folder / "design_front.svg", by_attack, best)
    ranked = ", ".join(f"{attack} {number(ranks[attack], '.2f')}" for attack in by_attack)
    return write_page(
        folder / "design.md",
        result,
        f"# Predicted and measured designs, {result['generator']}",
        f"{len(rows)} cells, {result['images']} files each. Rank correlation of predicted and measured share "
        f"of right bits: **{number(ranks['accuracy'], '.3f')}** over all cells; by attack: {ranked}. Of "
        f"PSNR: {number(ranks['psnr'], '.3f')}. Predictions know the damage; the descents do not.",
        "![Predicted against measured](design.svg)",
        "## Accuracy against quality",
        "What was measured of every design (σ, first axis, number of bits). A line joins those that no other "
        "beats in both.",
        "![Share of right bits against PSNR](design_front.svg)",
        table((row for some in best.values() for row in some), {**DESIGN, **MEASURED}),
        "## The chosen design against the baseline",
        _compared(result["compared"]),
        "## All cells",
        table(rows, {**DESIGN, **MEASURED, **PREDICTED}),
    )


def front(rows: Sequence[Row]) -> list[Row]:
    """The designs that none beats in one of measured accuracy and PSNR without being worse in the other.

    From the best PSNR to the best accuracy; of equal ones the first.
    """
    found: list[Row] = []
    for row in sorted(rows, key=lambda row: (-row["measured"]["psnr"], -row["measured"]["accuracy"])):
        if not found or row["measured"]["accuracy"] > found[-1]["measured"]["accuracy"]:
            found.append(row)
    return found


def _plot_prediction(path: Path, by_attack: Mapping[str, Sequence[Row]]) -> None:
    with panels(path, [""], width=4.6, height=4.4) as (axes,):
        diagonal(axes, 0.45, 1.0)
        for i, (attack, rows) in enumerate(by_attack.items()):
            predicted, measured = (
                [row[name]["accuracy"] for row in rows] for name in ("predicted", "measured")
            )
            series(axes, predicted, measured, mark=i, label=attack)
        axes.set(xlabel="predicted share of right bits", ylabel="measured")


def _plot_fronts(
    path: Path, by_attack: Mapping[str, Sequence[Row]], best: Mapping[str, Sequence[Row]]
) -> None:
    with panels(path, list(by_attack), width=2.9, height=3.0, shared=True) as grid:
        for axes, (attack, rows) in zip(grid, by_attack.items(), strict=True):
            series(axes, *_places(rows), color=SOFT, markersize=3.5)
            series(axes, *_places(best[attack]), linestyle="-", linewidth=1.2, markersize=3.5)
            axes.set_xlabel("PSNR, dB")
        grid[0].set_ylabel("share of right bits")


def _places(rows: Sequence[Row]) -> tuple[list[float], list[float]]:
    measured = [row["measured"] for row in rows]
    return [it["psnr"] for it in measured], [it["accuracy"] for it in measured]


def _compared(designs: Sequence[Row]) -> str:
    attacks = list(designs[0]["measured"])
    shares = {name: f"{{measured[{name}][accuracy]:.1%}} ({{accuracy[{name}]:.1%}})" for name in attacks}
    columns = {
        "design": lambda it: f"{it['name']}: {len(it['axes'])} bits, σ {it['sigma']:.3g}",
        "PSNR, dB (predicted)": f"{{measured[{attacks[0]}][psnr]:.1f}} ({{psnr:.1f}})",
        **shares,
    }
    listed = ", ".join(map(str, designs[1]["axes"]))
    return f"{table(designs, columns)}\n\nAxes of the chosen design: {listed}."
