"""Decoding of an algebraic code: readings a second that find their user among 2^36, by wrong bits.

Run: python -m latentfp.main --config=configs/bench/decoding.py --workdir=DIR
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The BCH code of 64 bits at distance 12, which corrects 5 wrong ones; noise that makes 5 wrong too."""
    config = base.get_config()
    config.run = "decoding_speed"
    config.study = ConfigDict(
        {"bits": 64, "message": 36, "readings": 16384, "wrong": (0, 1, 2, 3, 4, 5), "noise": 0.7}
    )
    return config
