"""Images a second of every attack of every suite, on one size of images.

Run: python -m latentfp.main --config=configs/bench/attacks.py --workdir=DIR
About 4 minutes on 2 CPU cores, most of it to compile.
"""

from ml_collections import ConfigDict

from configs import base

SUITES = (
    "nie2023",
    "stable_signature",
    "waves",
    "markdiffusion",
    "robustness",
    "codecs",
    "geometry",
    "pixels",
)


def get_config() -> ConfigDict:
    """All suites, at the size of the embedded generators."""
    config = base.get_config()
    config.run = "attack_speed"
    config.study = ConfigDict({"size": 32, "images": 20, "suites": SUITES})
    return config
