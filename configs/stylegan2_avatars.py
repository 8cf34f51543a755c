"""The embedded generator: StyleGAN2 on cartoon faces.

Run: python -m latentfp.main --config=configs/stylegan2_avatars.py:32 --workdir=runs/stylegan2_avatars
Made latentfp/generators/weights/avatars (see its README.md): 5842 steps, 72 minutes on 2 CPU cores. The
argument 64 is the same at 64x64, for a GPU or a night; it has not been run to its end.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.training import gan

CHANNELS = {"32": (96, 96, 64, 32), "64": (128, 128, 64, 32, 16)}  # from 4x4 up
R1_GAMMA = {"32": 0.5, "64": 0.1}


def get_config(size: str = "32") -> ConfigDict:
    """`size` in pixels: 32 (the embedded model) or 64 (for a night or a GPU)."""
    config = base.train_config()
    config.update(
        {
            "data": {"size": int(size)},
            "objective": {
                "make": gan.objective,
                "size": int(size),
                "channels": CHANNELS[size],
                "r1_gamma": R1_GAMMA[size],
                "path_every": 4 if size == "32" else 8,
            },
            "train": {
                "steps": 5_842 if size == "32" else 40_000,
                "log_every": 50,
                "preview_every": 250,
                "checkpoint_every": 250,
            },
        }
    )
    return config
