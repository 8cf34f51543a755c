"""Speed and accuracy of every way of attribution against the paper's search, on the same images.

Run: latentfp fit --out runs/avatars
     python -m latentfp.main --config=configs/bench/attribution.py --workdir=runs/attribution
A run that was interrupted goes on where it stopped. It takes 11 minutes on 2 CPU cores, the search 5 of them.
The default needs 0.025 s and 40 passes an image, the search 55.9 s and 80 000 (docs/results/attribution.md).
"""

from ml_collections import ConfigDict

from configs import base
from configs.stylegan2_avatars import CHANNELS

COMMAND = "python -m latentfp.main --config=configs/bench/attribution.py"


def get_config() -> ConfigDict:
    """500 clean images among 1000 users; 20 of them from several starts, 5 by the full search."""
    config = base.get_config()
    config.run = "attribution"
    config.study = ConfigDict(
        {
            "title": "Attribution of the embedded StyleGAN2",
            "command": f"{COMMAND} --workdir=DIR",
            "hardware": "2 CPU cores (AMD EPYC, AVX2), no accelerator",
            "deployment": "runs/avatars",
            "plan": {
                "images": 500,
                "multistart_images": 20,
                "reference_images": 5,
                "warm_images": 64,  # other images, answered before anything is timed
                "users": 1000,
                "alpha": 1e-6,  # the largest p-value that names a user
                "reference_starts": 20,
                "reference_steps": 2000,
            },
            "architectures": {"64": {"size": 64, "channels": CHANNELS["64"]}},
            "throughput_images": 256,
        }
    )
    return config
