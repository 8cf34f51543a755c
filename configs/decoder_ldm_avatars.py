"""The decoder of the embedded latent diffusion's usual deployment.

Run: latentfp fit --generator avatars-ldm --out runs/avatars-ldm
     python -m latentfp.main --config=configs/decoder_ldm_avatars.py --workdir=runs/decoder_ldm
Then: latentfp adopt --deployment runs/avatars-ldm runs/decoder_ldm/export
It has not been run to its end. As configs/decoder_stylegan2_avatars.py, but contents come from a pool.
"""

from ml_collections import ConfigDict

from configs import decoder_stylegan2_avatars


def get_config() -> ConfigDict:
    """1024 contents, of which 64 are renewed every 50 steps; no noise maps."""
    config = decoder_stylegan2_avatars.get_config()
    changed = {"pool": {"size": 1024, "every": 50}, "shares": {"fresh": 0.0}}
    config.update({"objective": {"deployment": "runs/avatars-ldm", **changed}})
    return config
