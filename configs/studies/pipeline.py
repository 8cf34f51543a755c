"""An autoencoder's deployment on photographs: how many users it tells apart under every attack of a suite.

Run: latentfp import shared/real/taesd --size 256 --out runs/taesd
     latentfp fit --generator runs/taesd --images shared/real/photos/bsds --layout frequencies --sigma 0.74 \
         --out runs/taesd-marked
     python -m latentfp.main --config=configs/studies/pipeline.py:taesd --workdir=DIR \
         --config.study.content=shared/real/photos/kodak
The same with taef1 and taef2. Weights: madebyollin/taesd, by the folders of diffusers or the author's files;
photographs for the axes and others for the content, as of BSDS500 and Kodak. 100 files of six attacks at 256
pixels took TAESD 39 minutes on 2 CPU cores beside other work.
"""

from ml_collections import ConfigDict

from configs.studies import capacity


def get_config(name: str = "taesd") -> ConfigDict:
    """Read by the autoencoder's own encoder: a descent takes minutes a file."""
    config = capacity.get_config(name)
    of_it = {"deployment": f"runs/{name}-marked", "suites": ("nie2023",), "images": 200, "method": "encoder"}
    config.update({"study": of_it})
    return config
