"""Predicted against measured accuracy and quality of designs: a page, and a plot."""

from pathlib import Path
from typing import Any

from latentfp.report.charts import write_scatter
from latentfp.report.markdown import made_with, number, table

COMMAND = "python -m latentfp.main --config=configs/studies/design.py:{generator} --workdir=DIR"


def write_design(folder: Path, result: dict[str, Any]) -> Path:
    """Write design.md and design.svg, the result of studies.design.run."""
    rows, ranks = result["rows"], result["rank_correlation"]
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
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
        "## The chosen design against the baseline",
        _compared(result["compared"]),
        "## All cells",
        _cells(rows),
        made_with(COMMAND.format(generator=result["generator"])),
    ]
    path = folder / "design.md"
    path.write_text("\n\n".join(page) + "\n", encoding="utf-8")
    return path


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


def _cells(rows: list[dict[str, Any]]) -> str:
    return table(
        {
            "σ": [f"{row['sigma']:g}" for row in rows],
            "first axis": [str(row["shift"]) for row in rows],
            "bits": [str(row["bits"]) for row in rows],
            "attack": [row["attack"] for row in rows],
            "right bits": [f"{row['measured']['accuracy']:.1%}" for row in rows],
            "predicted": [f"{row['predicted']['accuracy']:.1%}" for row in rows],
            "PSNR, dB": [f"{row['measured']['psnr']:.1f}" for row in rows],
            "PSNR predicted": [f"{row['predicted']['psnr']:.1f}" for row in rows],
        }
    )
