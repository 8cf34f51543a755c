"""The decoder of the embedded latent diffusion's usual deployment.

Run: latentfp fit --generator avatars-ldm --out runs/avatars-ldm
     python -m latentfp.main --config=configs/decoder_ldm_avatars.py --workdir=runs/decoder_ldm
Then: latentfp adopt --deployment runs/avatars-ldm runs/decoder_ldm/export
As configs/decoder_stylegan2_avatars.py, but contents come from a pool, and since reading starts at what the
encoder reads, two iterations and fewer steps do.
"""

from ml_collections import ConfigDict

from configs import decoder_stylegan2_avatars
from latentfp.training.pool import Pool

STEPS = 5000


def get_config() -> ConfigDict:
    """1024 contents, of which 64 are renewed every 60 steps; no noise maps. 40 minutes on 2 CPU cores."""
    config = decoder_stylegan2_avatars.get_config()
    changed = {"pool": {"make": Pool, "size": 1024, "every": 60}, "shares": {"fresh": 0.0, "ramp": 2500}}
    config.update({"objective": {"deployment": "runs/avatars-ldm", **changed}})
    config.update({"objective": {"learning": {"steps": STEPS, "iterations": 2}}, "train": {"steps": STEPS}})
    return config
