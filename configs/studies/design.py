"""Accuracy and quality predicted from Jacobians, against measured; the chosen design against the paper's.

Run: python -m latentfp.main --config=configs/studies/design.py:avatars --workdir=DIR
     python -m latentfp.main --config=configs/studies/design.py:avatars-ldm --workdir=DIR
96 cells of 10 files and two designs of 50. docs/results/design.md is of 80 cells of 5 files, two designs of
20, by the commands at its end: about 50 minutes on 2 CPU cores with other work beside. It printed rank
correlations of 0.92 (64 bits) and 0.955 (32 bits). docs/results/design_ldm.md is of 48 cells of 5 files, two
designs of 10, an hour and a half with other work beside: 0.942.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.report.design import write_design
from latentfp.studies import design

PLACES = {
    "avatars": {"sigma": (0.5, 1.0, 2.0, 4.0), "shift": (0, 224, 448), "bits": (32, 64)},
    "avatars-ldm": {"sigma": (0.25, 0.5, 1.0, 2.0), "shift": (0, 96, 192), "bits": (32, 64)},
}
BASELINES = {"avatars": (1.0, 448), "avatars-ldm": (1.0, 192)}  # the paper's, and the shipped design


def get_config(generator: str = "avatars") -> ConfigDict:
    """`generator`: one of PLACES."""
    config = base.study_config(design.measure, write_design)
    sigma, shift = BASELINES[generator]
    attacks = ("none", "noise", "jpeg", "combination")
    config.stream = "tune"
    config.study = ConfigDict(
        {
            "make": design.Settings,
            "generator": generator,
            "grid": {"make": design.Grid, **PLACES[generator], "attack": attacks, "images": 10},
            "compared": {
                "make": design.Compared,
                "sigma": sigma,
                "shift": shift,
                "bits": 64,
                "margin": 0.02,
                "images": 50,
            },
            "samples": 8,
        }
    )
    return config
