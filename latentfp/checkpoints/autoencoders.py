"""Autoencoders in folders of diffusers and in the files of TAESD's author, as fields and parameters of ours.

    AutoencoderKL, VQModel    Stable Diffusion 1, 2, XL; 3 and FLUX.1, which leave the 1×1 convolutions out
    AutoencoderTiny           TAESD and its kin
    encoder.N. and decoder.N. the same as the author stores them, with the pooled branch of TAEF2

A folder may hold its weights in one file or in shards with an index, and of half precision alone
(`variant="fp16"`). Every tensor is used, or the file is refused.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from latentfp.checkpoints import latent_diffusion_names as names
from latentfp.checkpoints.adopt import Imported, adopt
from latentfp.checkpoints.configurations import check, number, numbers, positive, read_configuration
from latentfp.checkpoints.torch_files import flatten, read_tensors
from latentfp.generators import pretrained
from latentfp.generators.latent_diffusion import model
from latentfp.generators.latent_diffusion.first_stage import FirstStage
from latentfp.types import Params

Settings = Mapping[str, Any]

MAX_SIZE = 4096  # pixels a side
STEM = "diffusion_pytorch_model"
USUAL_SCALE = 0.18215  # of first stages that do not state one
TINY = "AutoencoderTiny"
KINDS = ("VQModel", "AutoencoderKL", TINY)
NORMALISED = {
    "in_channels": (3,),
    "out_channels": (3,),
    "act_fn": ("silu",),
    "norm_type": ("group",),
    "mid_block_add_attention": (True,),
    "lookup_from_codebook": (False,),
    "latents_mean": (None,),
    "latents_std": (None,),
}
PLAIN = {
    "in_channels": (3,),
    "out_channels": (3,),
    "act_fn": ("relu",),
    "upsample_fn": ("nearest",),
    "upsampling_scaling_factor": (2,),
}


class Part(NamedTuple):
    """One network of a pipeline in a folder: its configuration and tensors."""

    settings: Settings
    tensors: Mapping[str, np.ndarray]


def from_folder(folder: Path, *, size: int | None = None) -> Imported:
    """An autoencoder alone, for images of `size` pixels a side; of those that it was trained on, if the
    configuration says so. ValueError for what is not supported, and where no size is known."""
    part = read_part(folder)
    network = fields_of(part.settings)
    usual = part.settings.get("sample_size", None if part.settings["_class_name"] == TINY else 32)
    fields = {**_sized(network, size or usual), **units_of(part.settings)}
    template = pretrained.shapes("first_stage", fields, None)
    return Imported("first_stage", fields, params_of(part, network, template), {})


def from_author(tree: Any, *, size: int | None = None) -> Imported:
    """What TAESD's author stores, the encoder and decoder as numbered layers. ValueError as `from_folder`."""
    tensors = flatten(tree)
    network = _numbered(tensors)
    fields = {**_sized(network, size), "scale": 1.0}
    template = pretrained.shapes("first_stage", fields, None)
    table = names.tiny(network, title="a tiny autoencoder of its author's", prefix="", first=1)
    return Imported("first_stage", fields, adopt(tensors, table, template), {})


def is_author(found: Collection[Any]) -> bool:
    """Whether tensors of these names are an author's encoder and decoder."""
    kinds = {str(name).split(".")[0] for name in found}
    return kinds == {"encoder", "decoder"} and all(re.match(r"\w+\.\d+\.", str(name)) for name in found)


def units_of(settings: Settings) -> dict[str, float]:
    """How a pipeline counts latents w of the network's own z: w = (z - shift) · scale."""
    usual = 1.0 if settings["_class_name"] == TINY else USUAL_SCALE
    shift = settings.get("shift_factor") or 0.0
    if not isinstance(shift, int | float) or not abs(shift) < 1e6:
        raise ValueError(f"shift_factor is {shift!s:.80}, expected a number")
    return {
        "scale": positive(settings, "scaling_factor", usual=usual),
        **({"shift": float(shift)} if shift else {}),
    }


def fields_of(settings: Settings) -> dict[str, Any]:
    """The fields of an autoencoder's network."""
    kind = settings.get("_class_name")
    if kind not in KINDS:
        text = f": {names.TEXT}" if kind == "UNet2DConditionModel" else ""
        raise ValueError(f"it has a {kind!s:.80}, expected a {' or '.join(KINDS)}{text}")
    return _tiny_fields(settings) if kind == TINY else _normalised_fields(settings)


def params_of(part: Part, network: Mapping[str, Any], template: Params) -> Params:
    """The parameters of an autoencoder with these fields."""
    stage = model.autoencoder(network)
    if not isinstance(stage, FirstStage):
        table = names.tiny(network, title="an AutoencoderTiny of diffusers", prefix="layers.", first=0)
        return adopt(part.tensors, table, template)
    early = any(".query." in name for name in part.tensors)
    return adopt(
        part.tensors, names.diffusers_first_stage(template, len(stage.channels), early=early), template
    )


def _normalised_fields(settings: Settings) -> dict[str, Any]:
    channels, latent = numbers(settings, "block_out_channels"), number(settings, "latent_channels")
    kinds = {"down_block_types": ["DownEncoderBlock2D"], "up_block_types": ["UpDecoderBlock2D"]}
    wanted = {name: (kind * len(channels),) for name, kind in kinds.items()}
    outer = settings.get("use_quant_conv", True)
    wanted |= {"use_quant_conv": (True, False), "use_post_quant_conv": (outer,)}
    check(
        {"use_post_quant_conv": True, **settings},
        {**NORMALISED, **wanted, "vq_embed_dim": (None, latent)},
        "its first stage",
    )
    quantised = settings["_class_name"] == "VQModel"
    return {
        "channels": channels,
        "blocks": number(settings, "layers_per_block"),
        "latent": latent,
        "codes": number(settings, "num_vq_embeddings", usual=256) if quantised else 0,
        "groups": number(settings, "norm_num_groups", usual=32),
        **({} if outer else {"outer": False}),
    }


def _tiny_fields(settings: Settings) -> dict[str, Any]:
    check(settings, PLAIN, "its autoencoder")
    widths = {name: numbers(settings, f"{name}_block_out_channels") for name in ("encoder", "decoder")}
    down, up = numbers(settings, "num_encoder_blocks"), numbers(settings, "num_decoder_blocks")
    width = widths["encoder"][0]
    if any(found != [width] * len(down) for found in widths.values()) or len(up) != len(down):
        raise ValueError(f"its levels have {widths} channels, supported is one width for all of {len(down)}")
    return {
        "width": width,
        "encoder_blocks": down,
        "decoder_blocks": up[::-1],
        "latent": number(settings, "latent_channels", usual=4),
    }


def _numbered(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The fields of numbered layers: a convolution without a bias is where a level begins or ends."""
    down, up = (_levels(tensors, side) for side in ("encoder", "decoder"))
    pooled = any(".pool." in name for name in tensors)
    last = tensors.get("decoder.1.weight", np.zeros((0, 0)))
    if not len(down) == len(up) > 0 or last.ndim != 4 or last.shape[1] > 2**16:
        raise ValueError("its numbered layers are no tiny autoencoder's")
    return {
        "width": last.shape[0],
        "encoder_blocks": down,
        "decoder_blocks": up[::-1],
        "latent": last.shape[1],
        **({"pooled": True} if pooled else {}),
    }


def _levels(tensors: Mapping[str, np.ndarray], side: str) -> list[int]:
    counts = [0]
    layers = {int(name.split(".")[1]) for name in tensors if name.startswith(f"{side}.")}
    for layer in sorted(layers):
        if f"{side}.{layer}.conv.0.weight" in tensors:
            counts[-1] += 1
        elif f"{side}.{layer}.weight" in tensors and f"{side}.{layer}.bias" not in tensors:
            counts.append(0)
    return counts


def _sized(network: Mapping[str, Any], size: Any) -> dict[str, Any]:
    """Size and network as fields."""
    if size is None:
        raise ValueError("it takes images of any size: say with --size for which it is meant, in pixels")
    factor = model.autoencoder(network).factor
    if type(size) is not int or not factor <= size <= MAX_SIZE or size % factor:
        raise ValueError(f"images of {size!s:.80} pixels: expected a multiple of {factor} up to {MAX_SIZE}")
    return {"size": size, "network": dict(network)}


def read_part(folder: Path) -> Part:
    """The configuration and the tensors in a folder."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} has no config.json, which says what its network is")
    settings = read_configuration(folder / "config.json")
    for ending in ("safetensors", "bin"):
        for variant in ("", *_variants(folder)):
            whole = folder / f"{STEM}{variant}.{ending}"
            index = folder / f"{STEM}.{ending}.index{variant}.json"
            if whole.is_file():
                return Part(settings, flatten(read_tensors(whole)))
            if index.is_file():
                return Part(settings, _sharded(index))
    raise ValueError(f"{folder} has none of {STEM}.safetensors, {STEM}.bin, and no variant or shards of them")


def _variants(folder: Path) -> list[str]:
    """What may stand between stem and ending, as ".fp16"."""
    found = (
        re.fullmatch(rf"{STEM}(\.\w+)\.\w+|{STEM}\.\w+\.index(\.\w+)\.json", it.name)
        for it in folder.iterdir()
    )
    return sorted({it[1] or it[2] for it in found if it is not None})


def _sharded(index: Path) -> dict[str, np.ndarray]:
    """The tensors of all shards that an index names."""
    told = read_configuration(index).get("weight_map")
    if not isinstance(told, dict) or not told:
        raise ValueError(f"{index} has no weight_map")
    tensors: dict[str, np.ndarray] = {}
    for name in sorted({str(file) for file in told.values()}):
        if Path(name).name != name:
            raise ValueError(f"{index} names {name!r:.80}, which is no file beside it")
        if not (index.parent / name).is_file():
            raise ValueError(f"{index} names {name}, which is not there: get it, too")
        tensors |= flatten(read_tensors(index.parent / name))
    if tensors.keys() != told.keys():
        wrong = sorted(map(str, tensors.keys() ^ told.keys()))
        raise ValueError(f"{index} and its files do not name the same tensors: {', '.join(wrong[:8])}")
    return tensors
