"""Identification against the number of users, clean and under every attack of four published suites.

Run: latentfp fit --out runs/avatars
     python -m latentfp.main --config=configs/studies/capacity.py:avatars --workdir=DIR
     latentfp fit --generator avatars-ldm --out runs/avatars-ldm
     python -m latentfp.main --config=configs/studies/capacity.py:avatars-ldm --workdir=DIR
64 attacks of 100 files. docs/results/capacity_avatars.md is of --config.study.images=20, 46 minutes, and
capacity_avatars-ldm.md of 10, an hour, on 2 CPU cores with much other work beside.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.report.capacity import write_capacity
from latentfp.studies import capacity


def get_config(generator: str = "avatars") -> ConfigDict:
    """From one user to a billion, at a family-wise rate of 1e-6."""
    config = base.study_config(capacity.measure, write_capacity)
    config.study = ConfigDict(
        {
            "make": capacity.Settings,
            "deployment": f"runs/{generator}",
            "suites": ("nie2023", "stable_signature", "waves", "markdiffusion"),
            "images": 100,
            "users": tuple(10**i for i in range(10)),
            "alpha": 1e-6,
            "files": 1,  # of one code, judged together
            "method": "refine",
            "content": "",
        }
    )
    return config
