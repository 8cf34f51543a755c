"""Two to eight users collude: who is traced, and whether anyone innocent is accused.

Run: latentfp fit --out runs/avatars
     python -m latentfp.main --config=configs/studies/collusion.py --workdir=DIR
1050 files. docs/results/collusion.json holds two runs, of '--config.study.colluders=(2,3,4,8)' and of
(5,6,7): 9 and 12 minutes on 2 CPU cores with other work beside.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.studies import collusion


def get_config() -> ConfigDict:
    """Coalitions among a thousand users; every reading is judged among 50 registries."""
    config = base.study_config(collusion.measure)
    config.study = ConfigDict(
        {
            "make": collusion.Settings,
            "deployment": "runs/avatars",
            "colluders": (2, 3, 4, 5, 6, 7, 8),
            "collusions": ("mean", "mixed", "latents"),
            "coalitions": 10,
            "files": 5,
            "users": 1000,
            "registries": 50,
            "alphas": (1e-2, 1e-6),
        }
    )
    return config
