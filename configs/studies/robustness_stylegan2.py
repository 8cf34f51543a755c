"""Robustness on the embedded StyleGAN2: the attacks of the suite `robustness`, decoder and refine.

Run: latentfp fit --out runs/avatars
     python -m latentfp.main --config=configs/studies/robustness_stylegan2.py:ROWS --workdir=runs/robustness
ROWS: main   500 images an attack: clean, blur, noise, JPEG, crop, rotation, combination, unknown noise maps
      more   100 images an attack: the other attacks of the suite
In two processes: the same with --config.study.part=0/2 and --config.study.part=1/2, then once more without.
On 2 CPU cores main takes about 45 minutes, more 10.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.augment.suites import suite

COMMAND = "python -m latentfp.main --config=configs/studies/robustness_stylegan2.py"
FAMILIES = ("none", "blur", "noise", "JPEG", "crop", "rotation 10", "combination")
IMAGES = {"main": 500, "more": 100}
TITLES = {"main": "Robustness on the embedded StyleGAN2", "more": "Robustness: further attacks, fewer images"}
NAMES = {"main": "robustness_stylegan2", "more": "robustness_stylegan2_more"}


def get_config(rows: str = "main") -> ConfigDict:
    """`rows`: main or more; main also tries the paper's search (2 starts x 500 steps) on 2 images of each."""
    names = [attack.name for attack in suite("robustness")]
    main = [name for name in names if name.startswith(FAMILIES)]
    others = [name for name in names if name not in main]
    config = base.get_config()
    config.run = "robustness"
    config.study = ConfigDict(
        {
            "name": NAMES[rows],
            "title": TITLES[rows],
            "command": f"{COMMAND}:{rows} --workdir=DIR",
            "hardware": "2 CPU cores (AMD EPYC, AVX2), no accelerator",
            "deployment": "runs/avatars",
            "suite": "robustness",
            "skip": tuple(others if rows == "main" else [*main]),
            "images": IMAGES[rows],
            "reference_images": 2 if rows == "main" else 0,
            "reference_starts": 2,
            "reference_steps": 500,
            "part": "all",  # or 0/2 and 1/2 in two processes, then all
        }
    )
    return config
