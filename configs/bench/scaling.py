"""Training of a decoder and attribution in bulk on 1, 2 and 4 local processes of one core each.

Run: latentfp fit --out runs/avatars
     latentfp users add --deployment runs/avatars alice bob
     python -m latentfp.main --config=configs/bench/scaling.py --workdir=DIR
Needs taskset (Linux). docs/results/scaling.md: 12 minutes on 2 CPU cores with nothing else running. It
printed 108, 163 and 138 images/s of training, and 0.89, 1.02 and 0.78 files/s of attribution, by 1, 2 and 4
processes.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.bench import scaling
from latentfp.report.benches import write_scaling


def get_config() -> ConfigDict:
    """The embedded StyleGAN2's deployment."""
    config = base.bench_config(scaling.run, write_scaling)
    config.study = ConfigDict(
        {
            "deployment": "runs/avatars",
            "training": "configs/decoder_stylegan2_avatars.py",
            "load": {
                "make": scaling.Load,
                "processes": (1, 2, 4),
                "batch": 256,
                "steps": 15,
                "every": 5,
                "files": 64,
                "part": 4,
            },
        }
    )
    return config
