"""Robustness on an embedded generator: the attacks of the suite `robustness`, against all that reads codes.

Run: latentfp fit --generator GENERATOR --out runs/GENERATOR
     python -m latentfp.main --config=configs/studies/robustness.py:GENERATOR --workdir=runs/robustness
GENERATOR: avatars (StyleGAN2) or avatars-ldm (latent diffusion).
In two processes: launch/local.sh 2 before the same command.
On 2 CPU cores avatars takes about two hours, 35 minutes of them for the search on one image of each row.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.report.robustness import write_robustness
from latentfp.studies import robustness

DESCENTS = {"avatars": 500, "avatars-ldm": 50}  # of these images
NAMES = {"avatars": "stylegan2", "avatars-ldm": "ldm"}


def get_config(generator: str = "avatars") -> ConfigDict:
    """34 attacks; where there are noise maps, two of them also with unknown ones."""
    config = base.study_config(robustness.measure, write_robustness)
    config.name = f"robustness_{NAMES[generator]}"
    config.title = f"Robustness on {base.EMBEDDED[generator]}"
    config.study = ConfigDict(
        {
            "make": robustness.Settings,
            "deployment": f"runs/{generator}",
            "suite": "robustness",
            "images": 500,
            "descents": DESCENTS[generator],
            "reference_images": 1,
            "reference_starts": 20,
            "reference_steps": 2000,
        }
    )
    return config
