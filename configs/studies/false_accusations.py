"""How often files that nobody made are attributed to someone, against the promised rates.

Run: latentfp fit --out runs/avatars
     python -m latentfp.main --config=configs/studies/false_accusations.py:decoder --workdir=DIR
     python -m latentfp.main --config=configs/studies/false_accusations.py:auto --workdir=DIR
By the decoder, 107 500 files of ten kinds, about 20 minutes on 2 CPU cores, most of it to draw the files.
By the default method with all its stages 5000, of which 2050 took 80 minutes on one core beside other work.
With photographs of one's own: --config.study.folder=DIR --config.study.images.folder=500
"""

from ml_collections import ConfigDict, config_dict

from configs import base
from latentfp.report.false_accusations import write_false_accusations
from latentfp.studies import false_accusations


def get_config(method: str = "decoder") -> ConfigDict:
    """Registries of one user, of a thousand and of a million, with 50, 10 and 2 secrets."""
    config = base.study_config(false_accusations.measure, write_false_accusations)
    images = {
        "photographs": 25_000,
        "drawings": 12_000,
        "other_styles": 4_000,
        "training_data": 4_000,
        "unmarked": 20_000,
        "other_users": 20_000,
        "other_generator": 1_500,
        "noise": 12_000,
        "flat": 6_000,
        "attacked": 3_000,
    }
    if method == "auto":
        images = dict.fromkeys(images, 500)
    images["folder"] = 0  # crops of photographs of one's own, where study.folder is given
    config.study = ConfigDict(
        {
            "make": false_accusations.Settings,
            "deployment": "runs/avatars",
            "images": images,
            "users": (1, 1000, 1_000_000),
            "deployments": (50, 10, 2),
            "alphas": (1e-2, 1e-3, 1e-4, 1e-6),
            "method": method,
            "case": 100,
            "folder": config_dict.placeholder(str),
        }
    )
    return config
