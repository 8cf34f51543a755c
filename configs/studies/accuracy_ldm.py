"""Strength and shift on the embedded latent diffusion: the sweep that chose its usual design.

Run: python -m latentfp.main --config=configs/studies/accuracy_ldm.py --workdir=DIR
500 files a cell, read by a descent from the encoder's reading; antipodal codes of 64 bits.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base
from latentfp.report.accuracy import write_accuracy
from latentfp.studies import accuracy

SIGMA, SHIFT = 1.0, 192


def get_config() -> ConfigDict:
    """One of strength and shift varied at a time; for attacks see configs/studies/robustness.py."""

    def cell(group: str, value: str, **changed: Any) -> dict[str, Any]:
        usual = {"sigma": SIGMA, "shift": SHIFT, "attack": "none", "frechet_images": 1000}
        fixed = {"method": "refine", "starts": 1, "steps": 1, "images": 500}
        chosen = {"make": accuracy.Cell, **usual, **fixed, **changed}
        return {"make": accuracy.Entry, "group": group, "value": value, "cell": chosen}

    cells = [cell("sigma", str(s), sigma=s) for s in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)]
    cells += [cell("shift", str(s), shift=s) for s in (0, 64, 128, 192)]
    config = base.study_config(accuracy.measure, write_accuracy)
    config.name, config.stream = "accuracy_ldm", "tune"
    config.title = "Strength and shift on the embedded latent diffusion"
    config.study = ConfigDict(
        {
            "make": accuracy.Settings,
            "generator": "avatars-ldm",
            "samples": 10_000,
            "bits": 64,
            "coding": "antipodal",
            "entries": cells,
        }
    )
    return config
