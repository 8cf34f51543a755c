"""Fidelity of an embedded generator to the avatars.

Run: python -m latentfp.main --config=configs/studies/fidelity.py:GENERATOR --workdir=runs/fidelity
GENERATOR: avatars (StyleGAN2) or avatars-ldm (latent diffusion).
In the features of published FIDs, with the weights of pytorch-fid and as many images as two halves allow: add
--config.study.inception=/path/pt_inception-2015-12-05-6726825d.pth --config.study.images=25000
"""

from ml_collections import ConfigDict, config_dict

from configs import base
from latentfp.studies import fidelity


def get_config(generator: str = "avatars") -> ConfigDict:
    """5000 samples against 5000 training images."""
    config = base.study_config(fidelity.measure)
    config.study = ConfigDict(
        {
            "make": fidelity.Settings,
            "generator": generator,
            "dataset": "avatars/toon_head",
            "split": "train",
            "data_dir": config_dict.placeholder(str),  # None: where TFDS data usually lie
            "images": 5000,
            "inception": config_dict.placeholder(str),  # None: random features; else a file of weights
        }
    )
    return config
