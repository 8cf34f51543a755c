"""How files of other origin and of the generator's own fare in the test whether they are the generator's.

Run: latentfp fit --out runs/calibrated
     latentfp users add --deployment runs/calibrated alice bob carol
     latentfp calibrate --deployment runs/calibrated --images 200
     python -m latentfp.main --config=configs/studies/membership.py --workdir=DIR
Calibrating takes 4 minutes on 2 CPU cores, the study 2.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.studies import membership

KINDS = ("unmarked", "other_users", "other_styles", "photographs", "flat", "noise")


def get_config() -> ConfigDict:
    """20 files of a kind."""
    config = base.study_config(membership.measure)
    config.study = ConfigDict(
        {
            "make": membership.Settings,
            "deployment": "runs/calibrated",
            "images": dict.fromkeys(KINDS, 20),
            "limits": (0.01, 0.05),
        }
    )
    return config
