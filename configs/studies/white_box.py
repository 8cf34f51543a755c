"""What users can do with the weights of their copies: see docs/security.md.

Run: latentfp fit --out runs/avatars
     python -m latentfp.main --config=configs/studies/white_box.py --workdir=runs/white_box
With a secret: latentfp fit --out runs/secret --secret keys/secret, then with LATENTFP_SECRET=keys/secret the
same and --config.study.deployment=runs/secret. Two minutes on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.studies import white_box


def get_config() -> ConfigDict:
    """200 images of the average of two copies, among 1000 users; axes from 10 000 samples."""
    config = base.study_config(white_box.measure)
    config.study = ConfigDict(
        {
            "make": white_box.Settings,
            "deployment": "runs/avatars",
            "users": 1000,
            "images": 200,
            "samples": 10_000,
            "alpha": 1e-6,
        }
    )
    return config
