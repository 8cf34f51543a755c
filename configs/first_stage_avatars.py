"""The first stage of the embedded latent diffusion: f4, 32x32 cartoon faces to 8x8 latents of 4 numbers.

Run: python -m latentfp.main --config=configs/first_stage_avatars.py:32 --workdir=runs/first_stage
Then: configs/ldm_avatars.py.
Made the first stage of latentfp/generators/weights/avatars-ldm (see its README.md): stopped after 3001 steps,
33 minutes on 2 CPU cores with other work beside; reconstructions had 34 dB. The argument 128 is f8, 128x128
faces to 16x16 latents of 4 numbers, whose encoder is also trained to find what its decoder is given: 0.70
GFLOP to decode an image, as XLA counts; it has not been run.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.training import first_stage

STEPS = {"32": 5_000, "128": 20_000}
NETWORKS = {
    "32": {"channels": (32, 32, 64), "blocks": 1, "latent": 4, "codes": 0, "groups": 16},
    "128": {"channels": (8, 16, 32, 64), "blocks": 1, "latent": 4, "codes": 0, "groups": 4},
}


def get_config(size: str = "32") -> ConfigDict:
    """`size` in pixels: 32 (the embedded model) or 128 (for a night), on 2 CPU cores."""
    config = base.train_config()
    config.objective = ConfigDict(
        {
            "make": first_stage.objective,
            "size": int(size),
            "network": NETWORKS[size],
            "critic": (32, 64),
            "learning": {
                "make": first_stage.Learning,
                "rate": 2e-3,
                "warmup": 200,
                "steps": STEPS[size],
                "average_decay": 0.998,
                "scales": 2,
                "latent_weight": 1e-3,
                "adversary_weight": 0.3,
                "adversary_from": 2_000,
                "inverse_weight": 0.0 if size == "32" else 0.1,
            },
        }
    )
    config.update(
        {
            "data": {"size": int(size)},
            "train": {
                "steps": STEPS[size],
                "batch": 32 if size == "32" else 16,
                "log_every": 50,
                "preview_every": 1000,
                "checkpoint_every": 500,
            },
        }
    )
    return config
