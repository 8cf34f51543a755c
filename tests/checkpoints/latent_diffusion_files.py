"""A small latent diffusion in the layouts of CompVis and diffusers, written from parameters of ours.

The names come from the tables that reading uses (test_public_names.py checks those); shapes and the packing
of attention are written down here once more.
"""

import json
from pathlib import Path

import jax
import numpy as np
import yaml
from latent_diffusion_sizes import FIELDS
from safetensors.numpy import save_file
from torch_layout import write_tree

from latentfp import rng
from latentfp.checkpoints import latent_diffusion_names as names
from latentfp.generators.latent_diffusion import model
from latentfp.types import by_path

NETS = model.networks(**FIELDS)
CONFIGURATION = {
    "model": {
        "params": {
            "linear_start": 0.0015,
            "linear_end": 0.0195,
            "timesteps": 1000,
            "cond_stage_config": "__is_unconditional__",
            "unet_config": {
                "params": {
                    "in_channels": 3,
                    "out_channels": 3,
                    "model_channels": 32,
                    "attention_resolutions": [2],
                    "num_res_blocks": 1,
                    "channel_mult": [1, 2],
                    "num_head_channels": 32,
                }
            },
            "first_stage_config": {
                "params": {
                    "embed_dim": 3,
                    "n_embed": 16,
                    "ddconfig": {
                        "double_z": False,
                        "z_channels": 3,
                        "resolution": 32,
                        "in_channels": 3,
                        "out_ch": 3,
                        "ch": 32,
                        "ch_mult": [1, 2],
                        "num_res_blocks": 1,
                        "attn_resolutions": [],
                    },
                }
            },
        }
    }
}
VAE = {
    "_class_name": "VQModel",
    "block_out_channels": [32, 64],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "layers_per_block": 1,
    "latent_channels": 3,
    "num_vq_embeddings": 16,
    "in_channels": 3,
    "out_channels": 3,
    "scaling_factor": 0.5,
}
UNET = {
    "_class_name": "UNet2DModel",
    "block_out_channels": [32, 64],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "in_channels": 3,
    "out_channels": 3,
    "attention_head_dim": 32,
    "sample_size": 16,
}
SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.0015,
    "beta_end": 0.0195,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": True,
    "steps_offset": 0,
}
INDEX = {
    "_class_name": "LDMPipeline",
    "vqvae": ["diffusers", "VQModel"],
    "unet": ["diffusers", "UNet2DModel"],
    "scheduler": ["diffusers", "DDIMScheduler"],
}


def draw_params(seed: int = 0):
    """Random weights of which none is zero."""
    draw, template = np.random.default_rng(seed), jax.eval_shape(lambda: model.init(NETS, rng.root(0)))
    return jax.tree.map(lambda x: draw.standard_normal(x.shape).astype(np.float32), template)


def foreign(path: str, x: np.ndarray, *, compvis: bool) -> np.ndarray:
    """An array of ours as the other programs store it; q, k and v of CompVis' UNet stay apart here."""
    if not path.endswith("kernel"):
        return x
    if x.ndim == 4:
        return x.transpose(3, 2, 0, 1)
    convolved = compvis and "attention" in path
    return x.T[:, :, None, None] if convolved and path.startswith("first_stage") else x.T


def write_diffusers(folder: Path, params, *, vae=VAE, unet=UNET, scheduler=SCHEDULER, index=INDEX) -> Path:
    """A pipeline; each configuration can be another."""
    tables = {
        "vqvae": (
            "first_stage",
            names.diffusers_first_stage(params["first_stage"], len(FIELDS["first_stage"]["channels"])),
            vae,
        ),
        "unet": ("denoiser", names.diffusers_unet(params["denoiser"], NETS.denoiser), unet),
    }
    for name, (part, table, settings) in tables.items():
        (folder / name).mkdir(parents=True)
        ours = by_path(params[part])
        tensors = {
            rule.source: np.array(foreign(f"{part}/{path}", ours[path], compvis=False), order="C")
            for path, rule in table.rules.items()
        }
        save_file(tensors, folder / name / "diffusion_pytorch_model.safetensors")
        (folder / name / "config.json").write_text(json.dumps(settings))
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def compvis_tensors(params, *, averaged: bool) -> dict[str, np.ndarray]:
    """The state of a checkpoint, with noise in the place of raw weights that are not to be read."""
    tables = {
        "first_stage": ("first_stage_model.", names.compvis_first_stage(params["first_stage"])),
        "denoiser": ("model.diffusion_model.", names.compvis_unet(params["denoiser"], NETS.denoiser)),
    }
    tensors: dict[str, np.ndarray] = {}
    for part, (prefix, table) in tables.items():
        ours = by_path(params[part])
        for path, rule in table.rules.items():
            array = foreign(f"{part}/{path}", ours[path], compvis=True)
            tensors[prefix + rule.source] = array
            if ".qkv." in rule.source:
                q, k, v = (
                    foreign(f"{part}/{p}", ours[p], compvis=True) for p in (_sibling(path, x) for x in "qkv")
                )
                heads = [x.reshape(-1, 1, 32, *x.shape[1:]) for x in (q, k, v)]
                packed = np.concatenate(heads, axis=1).reshape(-1, *q.shape[1:])
                tensors[prefix + rule.source] = packed[..., None] if packed.ndim == 2 else packed
            elif "attention" in path and part == "denoiser" and array.ndim == 2:
                tensors[prefix + rule.source] = array[..., None]
    if averaged:
        raw = {name: x for name, x in tensors.items() if name.startswith("model.diffusion_model.")}
        for name, x in raw.items():
            inner = name.removeprefix("model.").replace(".", "")
            tensors[f"model_ema.{inner}"] = x
            tensors[name] = np.zeros_like(x)
        tensors["model_ema.decay"] = np.float32(0.9999) * np.ones((), np.float32)
        tensors["model_ema.num_updates"] = np.ones((), np.int32)
    tensors["betas"] = np.zeros(1000, np.float32)
    tensors["alphas_cumprod"] = np.cumprod(1 - np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2).astype("f4")
    return tensors


def write_compvis(folder: Path, params, *, averaged=True, configuration=None, more=None) -> Path:
    """A checkpoint and its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {**compvis_tensors(params, averaged=averaged), **(more or {})}
    write_tree(folder / "model.ckpt", {"epoch": 3, "state_dict": arrays})
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration or CONFIGURATION))
    return folder / "model.ckpt"


def _sibling(path: str, letter: str) -> str:
    head, _, leaf = path.rpartition("/")
    return f"{head.rpartition('/')[0]}/{letter}/{leaf}"
