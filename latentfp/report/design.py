"""Predicted against measured accuracy and quality of designs: a page, and a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentfp.report.charts import write_fronts, write_scatter
from latentfp.report.markdown import made_with, number, table

Row = Mapping[str, Any]
COMMAND = "python -m latentfp.main --config=configs/studies/design.py:{generator} --workdir=DIR"


def write_design(folder: Path, result: dict[str, Any]) -> Path:
    """Write design.md, design.svg and design_front.svg, the result of studies.design.run."""
    rows, ranks = result["rows"], result["rank_correlation"]
    attacks = _attacks(rows)
    points = {
        attack: [
            (row["predicted"]["accuracy"], row["measured"]["accuracy"])
            for row in rows
            if row["attack"] == attack
        ]
        for attack in attacks
    }
    write_scatter(folder / "design.svg", points, x="predicted share of right bits", y="measured")
    by_attack = ", ".join(f"{attack} {number(ranks[attack], '.2f')}" for attack in attacks)
    page = [
        f"# Predicted and measured designs, {result['generator']}",
        f"{len(rows)} cells, {result['images']} files each. Rank correlation of predicted and measured share "
        f"of right bits: **{number(ranks['accuracy'], '.3f')}** over all cells; by attack: {by_attack}. Of "
        f"PSNR: {number(ranks['psnr'], '.3f')}. Predictions know the damage; the descents do not.",
        "![Predicted against measured](design.svg)",
        "## Accuracy against quality",
        "What was measured of every design (σ, first axis, number of bits). A line joins those that no other "
        "beats in both.",
        "![Share of right bits against PSNR](design_front.svg)",
        _fronts(folder / "design_front.svg", rows),
        "## The chosen design against the baseline",
        _compared(result["compared"]),
        "## All cells",
        _cells(rows),
        made_with(COMMAND.format(generator=result["generator"])),
    ]
    path = folder / "design.md"
    path.write_text("\n\n".join(page) + "\n", encoding="utf-8")
    return path


def front(rows: Sequence[Row]) -> list[Row]:
    """The designs that none beats in one of measured accuracy and PSNR without being worse in the other.

    From the best PSNR to the best accuracy; of equal ones the first.
    """
    found: list[Row] = []
    for row in sorted(rows, key=lambda row: (-row["measured"]["psnr"], -row["measured"]["accuracy"])):
        if not found or row["measured"]["accuracy"] > found[-1]["measured"]["accuracy"]:
            found.append(row)
    return found


def _fronts(picture: Path, rows: Sequence[Row]) -> str:
    """Plot the fronts of all attacks, and list their designs."""
    by_attack = {attack: [row for row in rows if row["attack"] == attack] for attack in _attacks(rows)}
    best = {attack: front(some) for attack, some in by_attack.items()}
    panels = {attack: (_places(some), _places(best[attack])) for attack, some in by_attack.items()}
    write_fronts(picture, panels, x="PSNR, dB", y="share of right bits")
    listed = [row for some in best.values() for row in some]
    return table({**_designs(listed), **_measured(listed)})


def _places(rows: Sequence[Row]) -> list[tuple[float, float]]:
    return [(row["measured"]["psnr"], row["measured"]["accuracy"]) for row in rows]


def _attacks(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["attack"] for row in rows))


def _compared(designs: list[dict[str, Any]]) -> str:
    attacks = list(designs[0]["measured"])
    psnr = [f"{one['measured'][attacks[0]]['psnr']:.1f} ({one['psnr']:.1f})" for one in designs]
    shares = {
        attack: [
            f"{one['measured'][attack]['accuracy']:.1%} ({one['accuracy'][attack]:.1%})" for one in designs
        ]
        for attack in attacks
    }
    names = [f"{one['name']}: {len(one['axes'])} bits, σ {one['sigma']:.3g}" for one in designs]
    columns = {"design": names, "PSNR, dB (predicted)": psnr, **shares}
    listed = ", ".join(map(str, designs[1]["axes"]))
    return f"{table(columns)}\n\nAxes of the chosen design: {listed}."


def _cells(rows: Sequence[Row]) -> str:
    predicted = {
        "predicted": [f"{row['predicted']['accuracy']:.1%}" for row in rows],
        "PSNR predicted": [f"{row['predicted']['psnr']:.1f}" for row in rows],
    }
    return table({**_designs(rows), **_measured(rows), **predicted})


def _designs(rows: Sequence[Row]) -> dict[str, list[str]]:
    return {
        "attack": [row["attack"] for row in rows],
        "σ": [f"{row['sigma']:g}" for row in rows],
        "first axis": [str(row["shift"]) for row in rows],
        "bits": [str(row["bits"]) for row in rows],
    }


def _measured(rows: Sequence[Row]) -> dict[str, list[str]]:
    return {
        "right bits": [f"{row['measured']['accuracy']:.1%}" for row in rows],
        "PSNR, dB": [f"{row['measured']['psnr']:.1f}" for row in rows],
    }
