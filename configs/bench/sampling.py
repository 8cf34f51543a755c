"""Images a second of an embedded generator, from noise to pixels, by batch.

Run: python -m latentfp.main --config=configs/bench/sampling.py:GENERATOR --workdir=runs/sampling
GENERATOR: avatars-ldm (50 DDIM steps, also if it is left out) or avatars (StyleGAN2).
"""

from ml_collections import ConfigDict

from configs import base


def get_config(generator: str = "avatars-ldm") -> ConfigDict:
    """Batches of 1, 16 and 64."""
    config = base.get_config()
    config.run = "sampling"
    config.study = ConfigDict({"generator": generator, "batches": (1, 16, 64)})
    return config
