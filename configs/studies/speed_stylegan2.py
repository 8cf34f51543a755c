"""Speed of StyleGAN2 synthesis and of the reference search.

Run: python -m latentfp.main --config=configs/studies/speed_stylegan2.py --workdir=runs/speed
"""

from ml_collections import ConfigDict

from configs import base

ARCHITECTURES = {
    "32, embedded": {"size": 32, "channels": [96, 96, 64, 32]},
    "64": {"size": 64, "channels": [128, 128, 64, 32, 16]},
    "256, channels of the paper": {"size": 256, "channels": [512, 512, 512, 512, 256, 128, 64]},
}


def get_config() -> ConfigDict:
    """Batches of 16 images; 1 to 80 starts at once."""
    config = base.get_config()
    config.run = "speed"
    config.study = ConfigDict(
        {"generator": "avatars", "architectures": ARCHITECTURES, "batch": 16, "pairs": (1, 5, 20, 40, 80)}
    )
    return config
