"""Latent diffusion of CompVis and in folders of diffusers, as fields and parameters of our networks.

The configurations say what the networks are; then the mapping is total (`adopt`). Whatever our networks
would compute differently is refused; of a pipeline whose denoiser listens to a text the autoencoder is taken
(autoencoders.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from latentfp.checkpoints import autoencoders
from latentfp.checkpoints import latent_diffusion_names as names
from latentfp.checkpoints.adopt import Imported, NameTable, Rule, adopt, ignored, rounding
from latentfp.checkpoints.autoencoders import MAX_SIZE, Settings
from latentfp.checkpoints.configurations import check, number, numbers, part, positive, read_configuration
from latentfp.checkpoints.torch_files import flatten
from latentfp.generators import pretrained
from latentfp.generators.latent_diffusion import model
from latentfp.generators.latent_diffusion.diffusion import linear
from latentfp.types import Params

# Of CompVis: what must be said, or not be said, of the whole, the first stage and the denoiser.
DENOISER = "model.diffusion_model."
COMPVIS_BETAS = {"linear_start": 1e-4, "linear_end": 2e-2}  # and what they are where nothing is said
SIGNAL = "state_dict.alphas_cumprod"
COMPVIS = {
    "parameterization": ("eps",),
    "timesteps": (1000,),
    "beta_schedule": ("linear",),
    "cond_stage_config": ("__is_unconditional__",),
    "conditioning_key": (None,),
    "learn_logvar": (False,),
}
COMPVIS_STAGE = {"in_channels": (3,), "out_ch": (3,), "attn_resolutions": ([],), "attn_type": ("vanilla",)}
COMPVIS_UNET = {
    "use_spatial_transformer": (False,),
    "num_classes": (None,),
    "use_scale_shift_norm": (False,),
    "resblock_updown": (False,),
    "conv_resample": (True,),
    "dims": (2,),
    "n_embed": (None,),
}
IGNORED = {
    **{f"state_dict.{name}": names.SCHEDULE for name in ("betas", "alphas_*", "sqrt_*", "log_one_minus_*")},
    **{f"state_dict.{name}": names.SCHEDULE for name in ("posterior_*", "lvlb_weights", "logvar")},
    "state_dict.first_stage_model.loss.*": "only for training",
    "state_dict.scale_factor": "read as the scale",
    "optimizer_states.*": "the state of the training",
    "callbacks.*": "the state of the training",
    "lr_schedulers.*": "the state of the training",
}
AVERAGED = {
    "state_dict.model.diffusion_model.*": "the denoiser before averaging",
    "state_dict.model_ema.decay": "the rate of the averaging",
    "state_dict.model_ema.num_updates": "the rate of the averaging",
}

# Of diffusers.
PIPELINE = "model_index.json"
STAYS = "the rest stays where it is and makes the latents, see docs/your_pipeline.md"
UNET = {
    "act_fn": ("silu",),
    "add_attention": (True,),
    "attn_norm_num_groups": (None,),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "downsample_padding": (1,),
    "downsample_type": ("conv",),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "mid_block_scale_factor": (1,),
    "mid_block_type": ("UNetMidBlock2D",),
    "norm_eps": (1e-5,),
    "num_class_embeds": (None,),
    "resnet_time_scale_shift": ("default",),
    "time_embedding_dim": (None,),
    "time_embedding_type": ("positional",),
    "upsample_type": ("conv",),
}
BETAS = {"beta_start": 1e-4, "beta_end": 2e-2}  # and what they are where nothing is said
# What diffusers takes where nothing is said, and we would not.
UNSAID = {"beta_schedule": "linear", "clip_sample": True}
SCHEDULER = {
    "_class_name": ("DDIMScheduler",),
    "beta_schedule": ("scaled_linear",),
    "clip_sample": (False,),
    "num_train_timesteps": (1000,),
    "prediction_type": ("epsilon",),
    "rescale_betas_zero_snr": (False,),
    "thresholding": (False,),
    "timestep_spacing": ("leading",),
    "trained_betas": (None,),
}


def expect_unconditional(tree: Any) -> Any:
    """The tree, under "state_dict" where it is only a state; ValueError if its denoiser attends to a text."""
    if isinstance(tree, dict) and any(str(name).startswith(DENOISER) for name in tree):
        tree = {"state_dict": tree}
    if any("attn2" in name for name in flatten(tree)):
        raise ValueError(names.TEXT)
    return tree


def from_compvis(tree: Any, configuration: Settings) -> Imported:
    """A checkpoint {"state_dict": …}, as `read_tensors` returns it, and its configuration.

    Averaged weights are taken where there are any; a noise schedule that it holds must be the stated one.
    """
    settings = part(configuration, "model", "params")
    if part(settings, "unet_config", "params").get("context_dim") is not None:
        raise ValueError(names.TEXT)
    check(settings, COMPVIS, "this latent diffusion")
    tensors = flatten(tree)
    stage = part(settings, "first_stage_config", "params")
    networks = _compvis_networks(stage, part(settings, "unet_config", "params"))
    fields = {
        **networks,
        "scale": _scale(tensors, positive(settings, "scale_factor", usual=1.0)),
        "betas": [positive(settings, name, usual=usual, most=1.0) for name, usual in COMPVIS_BETAS.items()],
    }
    nets = model.networks(**networks)
    template = pretrained.shapes("latent_diffusion", fields, None)
    averaged = "state_dict.model_ema.decay" in tensors
    table = _table(template, nets, averaged=averaged)
    table = table._replace(constants={SIGNAL: linear(*fields["betas"])})
    return Imported(
        "latent_diffusion", fields, adopt(tensors, table, template), ignored(tensors.keys(), table)
    )


def _scale(tensors: Mapping[str, np.ndarray], stated: float) -> float:
    """The scale that was measured and stored, or the stated one where that is the same to the stored type."""
    measured = tensors.get("state_dict.scale_factor", np.asarray(stated))
    found = measured.item() if measured.size == 1 else measured
    if isinstance(found, float) and abs(found - stated) <= rounding(measured) * stated:
        return stated
    return positive({"scale": found}, "scale")


def _compvis_networks(stage: Settings, unet: Settings) -> dict[str, Any]:
    shape = part(stage, "ddconfig")
    check(shape, COMPVIS_STAGE, "its first stage")
    check(unet, COMPVIS_UNET, "its denoiser")
    width, latent = number(shape, "ch"), number(stage, "embed_dim")
    check(shape, {"z_channels": (latent,), "double_z": ("n_embed" not in stage,)}, "its first stage")
    check(unet, {"in_channels": (latent,), "out_channels": (latent,)}, "its denoiser")
    multiples, factors = numbers(unet, "channel_mult"), numbers(unet, "attention_resolutions")
    return {
        "size": number(shape, "resolution", most=MAX_SIZE),
        "first_stage": {
            "channels": [width * m for m in numbers(shape, "ch_mult")],
            "blocks": number(shape, "num_res_blocks"),
            "latent": latent,
            "codes": number(stage, "n_embed") if "n_embed" in stage else 0,
        },
        "denoiser": {
            "channels": [number(unet, "model_channels") * m for m in multiples],
            "blocks": number(unet, "num_res_blocks"),
            "attention": [level for level in range(len(multiples)) if 2**level in factors],
            "head": number(unet, "num_head_channels"),
        },
    }


def _table(template: Params, nets: model.LatentDiffusion, *, averaged: bool) -> NameTable:
    stage = names.compvis_first_stage(template["first_stage"])
    unet = names.compvis_unet(template["denoiser"], nets.denoiser)

    def denoiser(source: str) -> str:
        plain = f"diffusion_model.{source}"
        return f"state_dict.model_ema.{plain.replace('.', '')}" if averaged else f"state_dict.model.{plain}"

    rules = {
        f"first_stage/{path}": Rule(f"state_dict.first_stage_model.{rule.source}", rule.change)
        for path, rule in stage.rules.items()
    } | {f"denoiser/{path}": Rule(denoiser(rule.source), rule.change) for path, rule in unet.rules.items()}
    return NameTable(
        "a latent diffusion of CompVis",
        rules,
        ignored={**IGNORED, **(AVERAGED if averaged else {})},
    )


def from_diffusers(folder: Path, *, size: int | None = None) -> Imported:
    """A pipeline of a VQModel or AutoencoderKL, a UNet2DModel and a DDIMScheduler; or an autoencoder alone.

    Of a pipeline that makes images of a text its autoencoder is taken; `size`: of that one's images.
    """
    if not (folder / PIPELINE).is_file():
        return autoencoders.from_folder(folder, size=size)
    index = read_configuration(folder / PIPELINE)
    stage_name = next((name for name in ("vqvae", "vae") if name in index), None)
    unet_class = index["unet"][-1] if isinstance(index.get("unet"), list) and index["unet"] else None
    text = "text_encoder" in index or "transformer" in index or unet_class == "UNet2DConditionModel"
    if text and stage_name is not None:
        found = autoencoders.from_folder(folder / stage_name, size=size)
        return found._replace(notes=(*found.notes, f"of the pipeline its {stage_name} is taken: {STAYS}"))
    if stage_name is None or "unet" not in index or "scheduler" not in index:
        raise ValueError(f"{folder}: expected a pipeline of vqvae or vae, unet and scheduler")
    if unet_class != "UNet2DModel":
        raise ValueError(f"it has a {unet_class!s:.80}, expected a UNet2DModel")
    if size is not None:
        raise ValueError("its pipeline says for which size of images it is: leave --size out")
    stage, unet = (autoencoders.read_part(folder / name) for name in (stage_name, "unet"))
    networks = _diffusers_networks(stage.settings, unet.settings)
    units = autoencoders.units_of(stage.settings)
    if "shift" in units:
        raise ValueError("its first stage has a shift_factor, which a latent diffusion of ours has not")
    scheduler = read_configuration(folder / "scheduler" / "scheduler_config.json")
    fields = {**networks, **units, **_sampling(scheduler)}
    nets = model.networks(**networks)
    template = pretrained.shapes("latent_diffusion", fields, None)
    params = {
        "first_stage": autoencoders.params_of(stage, networks["first_stage"], template["first_stage"]),
        "denoiser": adopt(
            unet.tensors, names.diffusers_unet(template["denoiser"], nets.denoiser), template["denoiser"]
        ),
    }
    return Imported("latent_diffusion", fields, params, {})


def _diffusers_networks(stage: Settings, unet: Settings) -> dict[str, Any]:
    network = autoencoders.fields_of(stage)
    latent, channels = network["latent"], numbers(unet, "block_out_channels")
    check(unet, UNET | {"in_channels": (latent,), "out_channels": (latent,)}, "its denoiser")
    return {
        "size": number(unet, "sample_size") * model.autoencoder(network).factor,
        "first_stage": network,
        "denoiser": {
            "channels": channels,
            "blocks": number(unet, "layers_per_block"),
            "attention": _attention(unet, len(channels)),
            "head": number(unet, "attention_head_dim", usual=8),
            "groups": number(unet, "norm_num_groups", usual=32),
        },
    }


def _attention(unet: Settings, levels: int) -> list[int]:
    down, up = unet.get("down_block_types"), unet.get("up_block_types")
    plain = {"DownBlock2D": False, "AttnDownBlock2D": True}
    if not isinstance(down, list) or len(down) != levels or any(kind not in plain for kind in down):
        raise ValueError(f"its denoiser has down_block_types {down!s:.200}, expected {levels} of {[*plain]}")
    attention = [level for level, kind in enumerate(down) if plain[kind]]
    expected = ["AttnUpBlock2D" if i in attention else "UpBlock2D" for i in reversed(range(levels))]
    check({"up_block_types": up}, {"up_block_types": (expected,)}, "its denoiser")
    return attention


def _sampling(scheduler: Settings) -> dict[str, Any]:
    check({**UNSAID, **scheduler}, SCHEDULER, "its scheduler")
    first = scheduler.get("steps_offset", 0)
    if first not in (0, 1):
        raise ValueError(f"its scheduler has steps_offset {first!s:.80}, expected 0 or 1")
    return {
        "betas": [positive(scheduler, name, usual=usual, most=1.0) for name, usual in BETAS.items()],
        "spacing": "diffusers",
        "first": first,
        "last": 1.0 if scheduler.get("set_alpha_to_one", True) else None,
    }
