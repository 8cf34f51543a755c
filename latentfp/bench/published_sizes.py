"""Whether generators of the published sizes fit on the machine: import, fit, generate, each a command.

A checkpoint of random weights is written in the format of its authors. Every command runs in a process of its
own, of which the time and the largest memory are measured; memory below the study's own does not show.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save_file

from latentfp import rng
from latentfp.checkpoints import latent_diffusion_names
from latentfp.checkpoints.adopt import restore
from latentfp.checkpoints.stylegan2 import to_rosinality
from latentfp.checkpoints.torch_files import write_tensors
from latentfp.generators.latent_diffusion import model as latent_diffusion
from latentfp.generators.stylegan2 import model as stylegan2


def run(
    *, kind: str, fields: Mapping[str, Any], steps: int, fit: Sequence[str], seed: int, workdir: Path
) -> dict[str, Any]:
    """Measure one generator and write published_sizes.json. `steps`: of its sampler, 0 for none."""
    workdir.mkdir(parents=True, exist_ok=True)
    source = WRITERS[kind](workdir, fields, seed)
    generator, deployment = workdir / "generator", workdir / "deployment"
    rows = {"import": command("import", source, "--out", generator)}
    if steps:
        description = json.loads((generator / "generator.json").read_text())
        description["fields"]["steps"] = steps
        (generator / "generator.json").write_text(json.dumps(description, indent=2) + "\n")
    fitting = ["--generator", generator, "--out", deployment, *fit]
    rows["fit"] = command("fit", *fitting)
    rows["users add"] = command("users", "add", "--deployment", deployment, "alice")
    images = ["--user", "alice", "--count", 1, "--out", workdir / "images", "--seed", 0]
    rows["generate 1"] = command("generate", "--deployment", deployment, *images)
    size = sum(file.stat().st_size for file in [source, *source.rglob("*")] if file.is_file())
    result = {"kind": kind, "fields": dict(fields), "steps": steps, "fit": list(fit), "bytes": size, **rows}
    (workdir / "published_sizes.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def command(*arguments: Any) -> dict[str, float]:
    """Seconds and the largest memory in MiB of one `latentfp` command. RuntimeError where it fails."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "latentfp.cli", *map(str, arguments)])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"latentfp {arguments[0]} failed: status {status}")
    return {"seconds": time.perf_counter() - began, "peak_mib": usage.ru_maxrss / 1024}


def write_stylegan2(folder: Path, fields: Mapping[str, Any], seed: int) -> Path:
    """A checkpoint in rosinality's layout."""
    size, key = fields["size"], rng.root(seed)
    nets = stylegan2.networks(**fields)
    params = jax.jit(lambda: stylegan2.init(nets, key))()
    average = np.zeros(nets.mapping.latent_dim, np.float32)
    whole = {**params, "noise": stylegan2.fixed_noise(size, seed), "w_average": average}
    write_tensors(folder / "model.pt", to_rosinality(fields, whole))
    return folder / "model.pt"


def write_latent_diffusion(folder: Path, fields: Mapping[str, Any], seed: int) -> Path:
    """A pipeline of diffusers; the scale of the latents is 1."""
    nets, path = latent_diffusion.networks(**fields), folder / "pipeline"
    params = jax.jit(lambda: latent_diffusion.init(nets, rng.root(seed)))()
    stage, unet = params["first_stage"], params["denoiser"]
    levels = len(fields["first_stage"]["channels"])
    tables = {
        "vqvae": (stage, latent_diffusion_names.diffusers_first_stage(stage, levels)),
        "unet": (unet, latent_diffusion_names.diffusers_unet(unet, nets.denoiser)),
    }
    for part, (ours, names) in tables.items():
        (path / part).mkdir(parents=True)
        tensors = restore(ours, names)
        save_file(tensors, path / part / "diffusion_pytorch_model.safetensors")
    (path / "scheduler").mkdir()
    for name, settings in _diffusers_settings(fields).items():
        (path / name).write_text(json.dumps(settings))
    return path


def _diffusers_settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON files of the pipeline."""
    stage, unet = fields["first_stage"], fields["denoiser"]
    levels = range(len(unet["channels"]))
    down = ["AttnDownBlock2D" if level in unet["attention"] else "DownBlock2D" for level in levels]
    return {
        "model_index.json": {
            "vqvae": ["diffusers", "VQModel"],
            "unet": ["diffusers", "UNet2DModel"],
            "scheduler": ["diffusers", "DDIMScheduler"],
        },
        "scheduler/scheduler_config.json": {
            "_class_name": "DDIMScheduler",
            "beta_start": 0.0015,
            "beta_end": 0.0195,
            "beta_schedule": "scaled_linear",
            "clip_sample": False,
        },
        "vqvae/config.json": {
            "_class_name": "VQModel",
            "block_out_channels": list(stage["channels"]),
            "layers_per_block": stage["blocks"],
            "latent_channels": stage["latent"],
            "num_vq_embeddings": stage["codes"],
            "scaling_factor": 1.0,
        },
        "unet/config.json": {
            "_class_name": "UNet2DModel",
            "block_out_channels": list(unet["channels"]),
            "down_block_types": down,
            "up_block_types": [kind.replace("Down", "Up") for kind in reversed(down)],
            "layers_per_block": unet["blocks"],
            "in_channels": stage["latent"],
            "out_channels": stage["latent"],
            "attention_head_dim": unet["head"],
            "sample_size": fields["size"] // 2 ** (len(stage["channels"]) - 1),
        },
    }


WRITERS = {"stylegan2": write_stylegan2, "latent_diffusion": write_latent_diffusion}
