"""An adversary who has the decoder erases marks, or writes those of other users.

Run: latentfp fit --out runs/avatars
     python -m latentfp.main --config=configs/studies/adversary.py --workdir=DIR
Two cells were run, erasing: by 1 grey level (20 files) the decoder names nobody and the descent all 20;
by 8 levels (10 files) neither names anybody. Two minutes for 10 files of a cell on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """Changes of 1 to 8 grey levels, as in WAVES; names among 1000 users."""
    config = base.get_config()
    config.run = "adversary"
    config.study = ConfigDict(
        {
            "deployment": "runs/avatars",
            "plan": {"images": 50, "radii": (1.0, 2.0, 4.0, 8.0), "steps": 200, "users": 1000, "alpha": 1e-6},
        }
    )
    return config
