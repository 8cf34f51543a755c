"""Adversaries who have the decoder, or the generator's weights, erase marks or write those of other users.

Run: latentfp fit --out runs/avatars
     python -m latentfp.main --config=configs/studies/adversary.py --workdir=DIR
docs/results/adversary.json is of --config.study.holds="('decoder',)" --config.study.images=20: 40 minutes on
2 CPU cores with other work beside. Moved by 2 grey levels towards another user's code the decoder names that
user in 20 of 20 files, and the default method the owner in 20 of 20; by 8 levels that names the other user in
17. docs/results/adversary_weights.json is of --config.study.holds="('weights',)" --config.study.images=10
--config.study.radii="(2.0,4.0,8.0,255.0)": the default method names the other user at 255 alone, in 10 of 10.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.studies import adversary


def get_config() -> ConfigDict:
    """Changes of 1 to 8 grey levels, as in WAVES; names among 1000 users."""
    config = base.study_config(adversary.measure)
    config.study = ConfigDict(
        {
            "make": adversary.Settings,
            "deployment": "runs/avatars",
            "holds": ("decoder", "weights"),
            "images": 50,
            "radii": (1.0, 2.0, 4.0, 8.0),
            "steps": 200,
            "users": 1000,
            "alpha": 1e-6,
        }
    )
    return config
