"""Descents in large latents and of large images: memory, seconds of a step, of a linear generator the bits.

Run: python -m latentfp.main --config=configs/bench/large_latents.py:GENERATOR --workdir=DIR
GENERATOR: linear-12288, linear-16384, ldm-256 (first stage of LDM-FFHQ-256, 12 288 numbers) or sd-512 (that
of Stable Diffusion at 512 pixels, 16 384 numbers), with random weights; or stylegan2-32, -64, -128, -256: how
a descent grows with the image, of 512 numbers.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.bench import large_latents

LINEAR = {"kind": "linear", "probes": 128, "steps": 12}
GENERATORS = {
    "linear-12288": {**LINEAR, "fields": {"latent": 12_288, "size": 32}},
    "linear-16384": {**LINEAR, "fields": {"latent": 16_384, "size": 32}},
    "ldm-256": {
        "kind": "first_stage",
        "fields": {"size": 256, "channels": (128, 256, 512), "blocks": 2, "latent": 3},
        "probes": 4,
        "steps": 2,
    },
    "sd-512": {
        "kind": "first_stage",
        "fields": {"size": 512, "channels": (128, 256, 512, 512), "blocks": 2, "latent": 4},
        "probes": 2,
        "steps": 2,
    },
    **{
        f"stylegan2-{size}": {"kind": "stylegan2", "fields": {"size": size}, "probes": 64, "steps": 6}
        for size in (32, 64, 128, 256)
    },
}


def get_config(generator: str = "linear-12288") -> ConfigDict:
    """One of them."""
    config = base.bench_config(large_latents.run)
    config.study = ConfigDict(GENERATORS[generator])
    return config
