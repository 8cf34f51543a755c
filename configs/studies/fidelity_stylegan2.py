"""Fidelity of the embedded StyleGAN2 to the avatars.

Run: python -m latentfp.main --config=configs/studies/fidelity_stylegan2.py --workdir=runs/fidelity
"""

from ml_collections import ConfigDict, config_dict

from configs import base


def get_config() -> ConfigDict:
    """5000 samples against 5000 training images."""
    config = base.get_config()
    config.run = "fidelity"
    config.study = ConfigDict(
        {
            "generator": "avatars",
            "dataset": "avatars/toon_head",
            "split": "train",
            "data_dir": config_dict.placeholder(str),  # None: where TFDS data usually lie
            "images": 5000,
        }
    )
    return config
