"""The scaling of training and attribution as a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentfp.report.markdown import made_with, number, table

COMMAND = "python -m latentfp.main --config=configs/bench/scaling.py --workdir=DIR"


def write_scaling(folder: Path, result: Mapping[str, Any]) -> Path:
    """Write scaling.md, the result of bench.scaling.run."""
    training, attribution = result["training"], result["attribution"]
    same = len({row["sha256"] for row in attribution}) == 1
    page = [
        f"# Scaling on {result['cores']} cores",
        "Every process has one core, by turns; the ideal is the speed of one process times the number of "
        "processes, and no more than the number of cores. Efficiency: share of the ideal.",
        f"## Training ({result['training_config']}, {result['batch']} images a step)",
        _curve(training, result["cores"], unit="images/s"),
        f"The metrics after {result['steps']} steps differ from those of one process by at most "
        f"{_difference(training):.1e} of their value.",
        f"## Attribution (`latentfp bulk`, {result['files']} files)",
        _curve(attribution, result["cores"], unit="files/s"),
        "Seconds count from the start of the command, with reading the deployment and the compiled programs. "
        f"The parts are {'the same, byte for byte' if same else 'NOT the same'}.",
        made_with(COMMAND),
    ]
    path = folder / "scaling.md"
    path.write_text("\n\n".join(page) + "\n")
    return path


def _curve(rows: Sequence[Mapping[str, Any]], cores: int, *, unit: str) -> str:
    alone = rows[0]["per_second"] / min(rows[0]["processes"], cores)
    speeds = [row["per_second"] for row in rows]
    ideal = [alone * min(row["processes"], cores) for row in rows]
    return table(
        {
            "processes": [str(row["processes"]) for row in rows],
            unit: [number(speed, ".3g") for speed in speeds],
            "times one": [number(speed / alone, ".2f") for speed in speeds],
            "efficiency": [f"{speed / best:.0%}" for speed, best in zip(speeds, ideal, strict=True)],
            "seconds": [number(row["seconds"], ".0f") for row in rows],
        }
    )


def _difference(rows: Sequence[Mapping[str, Any]]) -> float:
    """The largest relative difference of a metric from that of the first row."""
    first = rows[0]["metrics"]
    return max(
        abs(row["metrics"][name] - value) / max(abs(value), 1e-12)
        for row in rows
        for name, value in first.items()
    )
