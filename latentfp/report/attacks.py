"""The speed of attacks as a table."""

from pathlib import Path
from typing import Any

from latentfp.report.markdown import made_with, plain, table

COMMAND = "python -m latentfp.main --config=configs/bench/attacks.py --workdir=DIR"


def write_attacks(folder: Path, result: dict[str, Any]) -> Path:
    """Write attack_speed.md, the result of studies.attack_speed.run."""
    rows, side = result["rows"], result["size"]
    page = [
        f"# Attacks on files of {side}x{side} pixels",
        f"{len(rows)} settings, {result['images']} crops of photographs each, one after the other. The "
        "*first call* compiles. *Change* is the mean change of a value, in grey levels.",
        table(
            {
                "suite": [row["suite"] for row in rows],
                "attack": [plain(row["attack"]) for row in rows],
                "images/s": [f"{row['images_per_second']:.3g}" for row in rows],
                "first call, s": [f"{row['first_call_seconds']:.2f}" for row in rows],
                "change": [f"{row['mean_change_levels']:.1f}" for row in rows],
            }
        ),
        made_with(COMMAND),
    ]
    path = folder / "attack_speed.md"
    path.write_text("\n\n".join(page) + "\n", encoding="utf-8")
    return path
