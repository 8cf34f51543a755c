"""Speed and accuracy of every way of attribution against the paper's search, on the same images.

Run: latentfp fit --generator GENERATOR --out runs/GENERATOR
     python -m latentfp.main --config=configs/studies/attribution.py:GENERATOR --workdir=runs/attribution
GENERATOR: avatars (StyleGAN2, also if it is left out) or avatars-ldm (latent diffusion).
A run that was interrupted goes on where it stopped. avatars takes 28 minutes on 2 CPU cores, the search 11 of
them, before descents were rebuilt. With 100, 4, 1 and 8 images it takes 5.5: the default needs 72 passes
an image, the search 80 000 and 1310 times as long.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.report.attribution import write_attribution
from latentfp.studies import attribution


def get_config(generator: str = "avatars") -> ConfigDict:
    """500 clean images among 1000 users; 20 of them from several starts, 5 by the full search."""
    config = base.study_config(attribution.measure, write_attribution)
    config.title = f"Attribution of {base.EMBEDDED[generator]}"
    config.study = ConfigDict(
        {
            "make": attribution.Settings,
            "deployment": f"runs/{generator}",
            "images": 500,
            "multistart_images": 20,
            "reference_images": 5,
            "warm_images": 64,  # other images, answered before anything is timed
            "users": 1000,
            "alpha": 1e-6,  # the largest p-value that names a user
            "reference_starts": 20,
            "reference_steps": 2000,
        }
    )
    return config
