"""The weights of latentfp/attribution/confidence.py, and whether ratios mean what they say, by attack.

Run: latentfp fit --out runs/avatars
     latentfp fit --generator avatars-ldm --out runs/avatars-ldm
     python -m latentfp.main --config=configs/studies/confidence.py --workdir=DIR
WEIGHTS are those of docs/results/confidence.json, 8 files of every attack of nine suites, of each generator.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.augment.suites import SUITES
from latentfp.studies import confidence


def get_config() -> ConfigDict:
    """Both embedded generators, on the stream that chooses settings."""
    config = base.study_config(confidence.measure)
    config.stream = "tune"
    config.study = ConfigDict(
        {
            "make": confidence.Settings,
            "deployments": ("runs/avatars", "runs/avatars-ldm"),
            "suites": tuple(SUITES),
            "images": 8,
        }
    )
    return config
