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
        return {"group": group, "value": value, **usual, **fixed, **changed}

    cells = [cell("sigma", str(s), sigma=s) for s in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)]
    cells += [cell("shift", str(s), shift=s) for s in (0, 64, 128, 192)]
    config = base.study_config(accuracy.run, write_accuracy)
    config.study = ConfigDict(
        {
            "name": "accuracy_ldm",
            "title": "Strength and shift on the embedded latent diffusion",
            "command": "python -m latentfp.main --config=configs/studies/accuracy_ldm.py --workdir=DIR",
            "hardware": "2 CPU cores (AMD EPYC, AVX2), no accelerator",
            "generator": "avatars-ldm",
            "samples": 10_000,
            "bits": 64,
            "coding": "antipodal",
            "cells": cells,
        }
    )
    return config
