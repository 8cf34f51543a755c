"""The first stage of the embedded latent diffusion: f4, 32x32 cartoon faces to 8x8 latents of 4 numbers.

Run: python -m latentfp.main --config=configs/first_stage_avatars.py --workdir=runs/first_stage
Then: configs/ldm_avatars.py.
Made the first stage of latentfp/generators/weights/avatars-ldm (see its README.md): stopped after 3001 steps,
33 minutes on 2 CPU cores with other work beside; reconstructions had 34 dB.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.training import first_stage

STEPS = 5_000


def get_config() -> ConfigDict:
    """For 2 CPU cores."""
    config = base.train_config()
    config.objective = ConfigDict(
        {
            "make": first_stage.objective,
            "size": 32,
            "network": {"channels": (32, 32, 64), "blocks": 1, "latent": 4, "codes": 0, "groups": 16},
            "critic": (32, 64),
            "learning": {
                "make": first_stage.Learning,
                "rate": 2e-3,
                "warmup": 200,
                "steps": STEPS,
                "average_decay": 0.998,
                "scales": 2,
                "latent_weight": 1e-3,
                "adversary_weight": 0.3,
                "adversary_from": 2_000,
            },
        }
    )
    config.update(
        {
            "data": {"size": 32},
            "train": {
                "steps": STEPS,
                "batch": 32,
                "log_every": 50,
                "preview_every": 1000,
                "checkpoint_every": 500,
            },
        }
    )
    return config
