"""Robustness on the embedded StyleGAN2: the attacks of the suite `robustness`, decoder and descent.

Run: latentfp fit --out runs/avatars
     python -m latentfp.main --config=configs/studies/robustness_stylegan2.py --workdir=runs/robustness
In two processes: the same with --config.study.part=0/2 and --config.study.part=1/2, then once more without.
On 2 CPU cores 500 images an attack take about two hours, the paper's search on one image of each 35 minutes.
"""

from ml_collections import ConfigDict

from configs import base

COMMAND = "python -m latentfp.main --config=configs/studies/robustness_stylegan2.py"


def get_config() -> ConfigDict:
    """36 rows: 34 attacks, and two of them with unknown noise maps."""
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
            "images": 500,
            "reference_images": 1,
            "reference_starts": 20,
            "reference_steps": 2000,
            "part": "all",  # or 0/2 and 1/2 in two processes, then all
        }
    )
    return config
