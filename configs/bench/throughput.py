"""Throughput of every stage of a deployment, beside what the machine does at best in the same run.

Run: latentfp fit --generator GENERATOR --out runs/GENERATOR
     python -m latentfp.main --config=configs/bench/throughput.py:GENERATOR --workdir=runs/throughput
GENERATOR: avatars (StyleGAN2, also if it is left out) or avatars-ldm (latent diffusion).
To compare versions, let runs share a history: --config.study.history=FILE. Some stages must be asked for:
every attack of suites by --config.study.suites="('nie2023','waves')", the decoding of an algebraic code by
--config.study.algebraic.wrong="(0,3,5)". Batches of sampling: --config.study.sizes.batch=1.
The published runs had the machine for themselves and took 2.5 and 5.5 minutes on 2 CPU cores, which do 186
and 190 GFLOP/s in the matrix product. They printed, in images (search: queries) a second and shares of that:
    avatars      synthesis 971, 36 %; decoder 320, 35 %; refine 2.8, 35 %; search 862; GAN 60, 31 %
    avatars-ldm  sampling 8.0, 35 %; decoder 113, 28 %; refine 0.85, 26 %; search 881; denoiser 93, 28 %
GAN and denoiser: their training.
"""

from typing import Any

from ml_collections import ConfigDict, config_dict

from configs import base, decoder_ldm_avatars, decoder_stylegan2_avatars, ldm_avatars, stylegan2_avatars
from configs.stylegan2_avatars import CHANNELS
from latentfp.bench import stages, throughput
from latentfp.report.benches import write_throughput

NETWORKS = {"avatars": {"64x64": {"size": 64, "channels": CHANNELS["64"]}}, "avatars-ldm": {}}


def get_config(generator: str = "avatars") -> ConfigDict:
    """All stages at their usual batches, and the trainings of the generator and of its decoder."""
    config = base.bench_config(throughput.run, write_throughput)
    config.study = ConfigDict(
        {
            "deployment": f"runs/{generator}",
            "sizes": {
                "make": stages.Sizes,
                "batch": 64,  # images sampled, synthesised, damaged and decoded at once
                "refined": 16,  # images refined at once
                "codes": 10**6,
                "queries": 256,
                "top": 5,
            },
            "loads": {
                "make": throughput.Loads,
                "side": 2048,  # of the square matrices whose product is the peak
                "mib": 256,  # of the array whose copy is the peak
            },
            "rounds": 5,
            "networks": NETWORKS[generator],  # StyleGAN2 networks with random weights
            "suites": (),  # of attacks, each of which is a stage; all: latentfp/augment/suites.py
            "algebraic": {
                "make": stages.AlgebraicCode,
                "bits": 64,
                "message": 36,
                "readings": 16384,
                "wrong": (),  # bits of a reading, such as (0, 3, 5); needs the extra `bch`
            },
            "training": {"avatars": stylegan2, "avatars-ldm": latent_diffusion}[generator](),
            "history": config_dict.placeholder(str),  # a file; None: history.jsonl in the workdir
        }
    )
    return config


def stylegan2() -> dict[str, Any]:
    """The GAN and its decoder."""
    gan = step(stylegan2_avatars.get_config())
    return {"GAN training": gan, "decoder training": step(decoder_stylegan2_avatars.get_config())}


def latent_diffusion() -> dict[str, Any]:
    """The denoiser and its decoder, whose pool is smaller than in training: it has to be filled first."""
    decoder = step(decoder_ldm_avatars.get_config())
    decoder["fields"]["pool"]["size"] = 64
    return {"denoiser training": step(ldm_avatars.get_config()), "decoder training": decoder}


def step(config: ConfigDict) -> dict[str, Any]:
    """The objective and the batch of a training; what it trains on is the deployment's own."""
    fields = config.to_dict()
    own = ("make", "deployment", "first_stage")
    kept = {name: value for name, value in fields["objective"].items() if name not in own}
    return {"objective": fields["objective"]["make"], "fields": kept, "batch": fields["train"]["batch"]}
