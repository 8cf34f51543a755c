"""Robustness on the embedded StyleGAN2: every attack of the suite `robustness`, decoder and refine.

Run: latentfp fit --out runs/avatars
     python -m latentfp.main --config=configs/studies/robustness_stylegan2.py --workdir=runs/robustness
In two processes: the same with --config.study.part=0/2 and --config.study.part=1/2, then once more without.
"""

from ml_collections import ConfigDict

from configs import base

COMMAND = "python -m latentfp.main --config=configs/studies/robustness_stylegan2.py"


def get_config() -> ConfigDict:
    """500 images an attack, and 2 of them by the paper's search with 2 starts x 500 steps."""
    config = base.get_config()
    config.run = "robustness"
    config.study = ConfigDict(
        {
            "name": "robustness_stylegan2",
            "title": "Robustness on the embedded StyleGAN2",
            "command": f"{COMMAND} --workdir=DIR",
            "hardware": "2 CPU cores (AMD EPYC, AVX2), no accelerator",
            "deployment": "runs/avatars",
            "suite": "robustness",
            "skip": ("brightness 0.75", "brightness 1.5", "contrast 0.75", "contrast 1.5"),
            "images": 500,
            "reference_images": 2,
            "reference_starts": 2,
            "reference_steps": 500,
            "part": "all",  # or 0/2 and 1/2 in two processes, then all
        }
    )
    return config
