"""The embedded latent diffusion: a denoiser of the 8x8 latents of configs/first_stage_avatars.py.

Run: python -m latentfp.main --config=configs/ldm_avatars.py --workdir=runs/ldm
Made the denoiser of latentfp/generators/weights/avatars-ldm: stopped after 2416 steps, 38 minutes on 2 CPU
cores with other work beside.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.training import diffusion

STEPS = 4_500


def get_config() -> ConfigDict:
    """For 2 CPU cores."""
    config = base.train_config()
    config.objective = ConfigDict(
        {
            "make": diffusion.objective,
            "first_stage": "runs/first_stage/export",
            "denoiser": {"channels": (64, 128), "blocks": 2, "attention": (0, 1), "head": 32, "groups": 32},
            "schedule": "linear",
            "steps": 50,
            "eta": 1.0,
            "learning": {
                "make": diffusion.Learning,
                "rate": 1e-3,
                "warmup": 200,
                "steps": STEPS,
                "average_decay": 0.999,
            },
        }
    )
    config.update(
        {
            "data": {"size": 32},
            "train": {
                "steps": STEPS,
                "batch": 64,
                "log_every": 50,
                "preview_every": 1000,
                "checkpoint_every": 500,
            },
        }
    )
    return config
