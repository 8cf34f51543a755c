"""Import, fit and generate with random weights of the published sizes: seconds and memory of each command.

Run: python -m latentfp.main --config=configs/bench/published_sizes.py:GENERATOR --workdir=DIR
GENERATOR: stylegan2-1024 (configuration F, 30 million parameters) or ldm-256 (LDM-FFHQ-256, 330 million).
A sample of ldm-256 takes minutes on a CPU; it is fitted to 24 samples of 2 DDIM steps here, not 50.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.bench import published_sizes

STYLEGAN2 = {
    "kind": "stylegan2",
    "fields": {"size": 1024, "channels": (512, 512, 512, 512, 512, 256, 128, 64, 32)},
    "steps": 0,
    "fit": ("--sigma", "1", "--shift", "448"),
}
LATENT_DIFFUSION = {
    "kind": "latent_diffusion",
    "fields": {
        "size": 256,
        "first_stage": {"channels": (128, 256, 512), "blocks": 2, "latent": 3, "codes": 8192},
        "denoiser": {"channels": (224, 448, 672, 896), "blocks": 2, "attention": (1, 2, 3), "head": 32},
    },
    "steps": 2,
    "fit": ("--sigma", "1", "--shift", "0", "--bits", "4", "--samples", "24"),
}


def get_config(generator: str = "stylegan2-1024") -> ConfigDict:
    """One of the two."""
    config = base.bench_config(published_sizes.run)
    config.study = ConfigDict({"stylegan2-1024": STYLEGAN2, "ldm-256": LATENT_DIFFUSION}[generator])
    return config
