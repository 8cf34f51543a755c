"""How often files name the right one of a million users, undamaged and under the paper's four attacks.

Run: latentfp fit --out runs/avatars
     python -m latentfp.main --config=configs/studies/identification.py --workdir=DIR
     latentfp fit --generator avatars-ldm --out runs/avatars-ldm
     python -m latentfp.main --config=configs/studies/identification.py:avatars-ldm --workdir=DIR
A file of the suite posted takes 3.5 seconds on one CPU core with other work beside it. Other suites:
--config.study.suites="('posted',)"
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.studies import identification


def get_config(generator: str = "avatars") -> ConfigDict:
    """A million users, at a family-wise rate of 1e-6."""
    config = base.study_config(identification.measure)
    config.study = ConfigDict(
        {
            "make": identification.Settings,
            "deployment": f"runs/{generator}",
            "suites": ("nie2023",),
            "images": 2000,
            "users": 1_000_000,
            "alpha": 1e-6,
            "method": "auto",
        }
    )
    return config
