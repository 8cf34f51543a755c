"""Latent diffusion of CompVis, a .ckpt with a .yaml, as fields and parameters of our networks.

The configuration says what the networks are; then the mapping is total (`adopt`). Whatever our networks
would compute differently, above all a denoiser that listens to a text, is refused.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from latentfp.checkpoints import latent_diffusion_names as names
from latentfp.checkpoints.adopt import Imported, NameTable, Rule, adopt, ignored, rounding
from latentfp.checkpoints.configurations import check, number, numbers, part, positive
from latentfp.checkpoints.torch_files import flatten
from latentfp.generators.latent_diffusion import model
from latentfp.generators.latent_diffusion.diffusion import linear
from latentfp.types import Params

Settings = Mapping[str, Any]

DENOISER = "model.diffusion_model."
MAX_SIZE = 4096  # pixels a side
BETAS = {"linear_start": 1e-4, "linear_end": 2e-2}  # and what they are where nothing is said
SIGNAL = "state_dict.alphas_cumprod"
SETTINGS = {
    "parameterization": ("eps",),
    "timesteps": (1000,),
    "beta_schedule": ("linear",),
    "cond_stage_config": ("__is_unconditional__",),
    "conditioning_key": (None,),
    "learn_logvar": (False,),
}
STAGE = {"in_channels": (3,), "out_ch": (3,), "attn_resolutions": ([],), "attn_type": ("vanilla",)}
UNET = {
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
    check(settings, SETTINGS, "this latent diffusion")
    tensors = flatten(tree)
    stage = part(settings, "first_stage_config", "params")
    networks = _networks(stage, part(settings, "unet_config", "params"))
    fields = {
        **networks,
        "scale": _scale(tensors, positive(settings, "scale_factor", usual=1.0)),
        "betas": [positive(settings, name, usual=usual, most=1.0) for name, usual in BETAS.items()],
    }
    nets = model.networks(**networks)
    template = model.shapes(nets)
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


def _networks(stage: Settings, unet: Settings) -> dict[str, Any]:
    shape = part(stage, "ddconfig")
    check(shape, STAGE, "its first stage")
    check(unet, UNET, "its denoiser")
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
