"""Accuracy and quality predicted from Jacobians, against measured; the chosen design against the paper's.

Run: python -m latentfp.main --config=configs/studies/design.py:avatars --workdir=DIR
     python -m latentfp.main --config=configs/studies/design.py:avatars-ldm --workdir=DIR
96 cells of 10 files and two designs of 50. docs/results/design.md is of 48 cells and fewer files, 23 minutes
on 2 CPU cores with other work beside: --config.study.grid.images=5 '--config.study.grid.bits=(64,)'
--config.study.compared.images=20 --config.study.compared.margin=0.008; it printed a rank correlation of 0.92.
"""

from ml_collections import ConfigDict

from configs import base

PLACES = {
    "avatars": {"sigma": (0.5, 1.0, 2.0, 4.0), "shift": (0, 224, 448), "bits": (32, 64)},
    "avatars-ldm": {"sigma": (0.25, 0.5, 1.0, 2.0), "shift": (0, 96, 192), "bits": (32, 64)},
}
BASELINES = {"avatars": (1.0, 448), "avatars-ldm": (1.0, 192)}  # the paper's, and the shipped design


def get_config(generator: str = "avatars") -> ConfigDict:
    """`generator`: one of PLACES."""
    config = base.get_config()
    config.run = "design"
    sigma, shift = BASELINES[generator]
    attacks = ("none", "noise", "jpeg", "combination")
    config.study = ConfigDict(
        {
            "generator": generator,
            "grid": {**PLACES[generator], "attack": attacks, "images": 10},
            "compared": {"sigma": sigma, "shift": shift, "bits": 64, "margin": 0.02, "images": 50},
            "samples": 8,
        }
    )
    return config
