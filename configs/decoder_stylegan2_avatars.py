"""The decoder of the embedded deployment: sigma 2, antipodal codes of 64 bits on axes 448 to 511.

Run: latentfp fit --out runs/avatars
     python -m latentfp.main --config=configs/decoder_stylegan2_avatars.py --workdir=runs/decoder
Then: latentfp adopt --deployment runs/avatars runs/decoder/export
For another deployment: --config.objective.deployment=FOLDER.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.deployment import decoder_training
from latentfp.training.decoder import Learning
from latentfp.training.examples import Shares

STEPS = 12_000


def get_config() -> ConfigDict:
    """For 2 CPU cores and about an hour and a half."""
    config = base.train_config()
    del config.data
    config.objective = ConfigDict(
        {
            "make": decoder_training.objective,
            "deployment": "runs/avatars",
            "network": {"channels": 32, "squeeze": 48, "width": 640, "blocks": 2},
            "shares": {"make": Shares, "clean": 0.35, "mixed": 0.2, "fresh": 0.5, "ramp": 4000},
            "learning": {
                "make": Learning,
                "rate": 1e-3,
                "warmup": 200,
                "steps": STEPS,
                "weight_decay": 1e-4,
                "average_decay": 0.998,
                "iterations": 3,
                "content_weight": 0.3,
                "damage_weight": 0.1,
            },
        }
    )
    config.update(
        {
            "train": {
                "steps": STEPS,
                "batch": 64,
                "log_every": 50,
                "preview_every": 1000,
                "checkpoint_every": 500,
            }
        }
    )
    return config
