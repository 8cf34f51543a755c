"""How the tensors of two public implementations of latent diffusion become our parameters.

CompVis numbers the blocks of its UNet in one row and packs q, k and v of a head; diffusers names them by
level, the lowest resolution first on the way up, and keeps q, k and v apart. Early files of diffusers call
these query, key, value and proj_attn. Both store [out, in, h, w], we store [h, w, in, out].
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from latentfp.checkpoints.adopt import Change, NameTable, Rule
from latentfp.generators.latent_diffusion.first_stage import FirstStage
from latentfp.generators.latent_diffusion.unet import UNet
from latentfp.types import Params, by_path

Renaming = Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]

LEAVES: Renaming = [("kernel$", "weight"), ("scale$", "weight")]
RESNET: Renaming = [
    ("norm1/", "norm2/"), ("norm0/", "norm1/"), ("conv1/", "conv2/"), ("conv0/", "conv1/"),
]  # fmt: skip
OUTER: Renaming = [
    ("^before/", "quant_conv/"), ("^after/", "post_quant_conv/"), ("^codebook", "quantize/embedding/weight"),
]  # fmt: skip
COMPVIS_STAGE: Renaming = [
    *OUTER,
    *RESNET,
    ("skip/", "nin_shortcut/"),
    ("middle/block0", "mid/block_1"), ("middle/block1", "mid/block_2"), ("middle/attention", "mid/attn_1"),
    ("attn_1/out/", "attn_1/proj_out/"),
    (r"encoder/level(\d+)_block", r"encoder/down/\1/block/"),
    (r"encoder/level(\d+)_halve", r"encoder/down/\1/downsample"),
    (r"decoder/level(\d+)_block", r"decoder/up/\1/block/"),
    (r"decoder/level(\d+)_double", r"decoder/up/\1/upsample"),
    *LEAVES,
]  # fmt: skip
DIFFUSERS: Renaming = [
    *OUTER,
    *RESNET,
    ("skip/", "conv_shortcut/"),
    ("/time/", "/time_emb_proj/"),
    ("^time/fc0", "time_embedding/linear_1"), ("^time/fc1", "time_embedding/linear_2"),
    ("norm_out/", "conv_norm_out/"),
    ("middle[/_]block", "mid_block/resnets/"), ("middle[/_]attention", "mid_block/attentions/0"),
    (r"(attention\d+|attentions/0)/norm/", r"\1/group_norm/"),
    (r"(attention\d+|attentions/0)/([qkv])/", r"\1/to_\2/"),
    (r"(attention\d+|attentions/0)/out/", r"\1/to_out/0/"),
    *LEAVES,
]  # fmt: skip
DIFFUSERS_LEVEL: Renaming = [
    (r"(blocks/\d+)_block", r"\1/resnets/"), (r"(blocks/\d+)_attention", r"\1/attentions/"),
    (r"(blocks/\d+)_halve", r"\1/downsamplers/0"), (r"(blocks/\d+)_double", r"\1/upsamplers/0"),
]  # fmt: skip
COMPVIS_BLOCK: Renaming = [
    ("norm0/", "in_layers/0/"), ("conv0/", "in_layers/2/"), ("/time/", "/emb_layers/1/"),
    ("norm1/", "out_layers/0/"), ("conv1/", "out_layers/3/"), ("skip/", "skip_connection/"),
    ("^time/fc0", "time_embed/0"), ("^time/fc1", "time_embed/2"),
    ("^conv_in/", "input_blocks/0/0/"), ("^norm_out/", "out/0/"), ("^conv_out/", "out/2/"),
    ("^middle_block0", "middle_block/0"), ("^middle_attention", "middle_block/1"),
    ("^middle_block1", "middle_block/2"),
    ("/[qkv]/", "/qkv/"), ("/out/(?=kernel|bias)", "/proj_out/"),
]  # fmt: skip
EARLY = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
TEXT = (
    "it makes images of a text (its denoiser attends to a prompt, as in Stable Diffusion), which is not "
    "supported as a generator; its pipeline can be fingerprinted as it is: see docs/your_pipeline.md"
)
SCHEDULE = "part of the noise schedule, which is computed"


def compvis_first_stage(template: Params) -> NameTable:
    """The rules of `first_stage_model.*`, without that prefix."""
    rules = _only_read(_rules(template, lambda path: _renamed(path, COMPVIS_STAGE)))
    return NameTable("a first stage of CompVis", rules, ignored={"loss.*": "only for training"})


def diffusers_first_stage(template: Params, stage: FirstStage, *, early: bool = False) -> NameTable:
    """The rules of a VQModel or AutoencoderKL; `early`: with the old names of the attention."""
    last = len(stage.channels) - 1
    up = (r"decoder/level(\d+)", lambda m: f"decoder/up_blocks/{last - int(m[1])}")
    renaming = [*DIFFUSERS, ("encoder/level", "encoder/down_blocks/"), up, *DIFFUSERS_LEVEL]

    def name(path: str) -> str:
        found = _renamed(path, renaming)
        for new, old in EARLY.items() if early else ():
            found = found.replace(f".{new}.", f".{old}.")
        return found

    return NameTable("a first stage of diffusers", _rules(template, name))


def diffusers_unet(template: Params, unet: UNet) -> NameTable:
    """The rules of a UNet2DModel."""
    last = len(unet.channels) - 1
    up = (r"^up(\d+)", lambda m: f"up_blocks/{last - int(m[1])}")
    renaming = [*DIFFUSERS, (r"^down(\d+)", r"down_blocks/\1"), up, *DIFFUSERS_LEVEL]
    return NameTable("a UNet of diffusers", _rules(template, lambda path: _renamed(path, renaming)))


def compvis_unet(template: Params, unet: UNet) -> NameTable:
    """The rules of `model.diffusion_model.*`, without that prefix."""
    last, each = len(unet.channels) - 1, unet.blocks + 1

    def down(m: re.Match[str]) -> str:
        level, kind, number = int(m[1]), m[2], m[3]
        if kind == "halve":
            return f"input_blocks/{(level + 1) * each}/0/op"
        return f"input_blocks/{1 + level * each + int(number)}/{int(kind == 'attention')}"

    def up(m: re.Match[str]) -> str:
        level, kind, number = int(m[1]), m[2], m[3]
        if kind == "double":
            return f"output_blocks/{(last - level + 1) * each - 1}/{1 + (level in unet.attention)}"
        return f"output_blocks/{(last - level) * each + int(number)}/{int(kind == 'attention')}"

    levels = [(r"^down(\d+)_([a-z]+)(\d*)", down), (r"^up(\d+)_([a-z]+)(\d*)", up), ("op/conv/", "op/")]
    rules = _only_read(_rules(template, lambda path: _renamed(path, [*COMPVIS_BLOCK, *LEAVES, *levels])))
    return NameTable("a UNet of CompVis", {path: _packed(path, rule, unet) for path, rule in rules.items()})


def _only_read(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """Without the way back: CompVis keeps attention as convolutions in one part and packed in the other."""
    return {path: rule._replace(undo=None) for path, rule in rules.items()}


def _packed(path: str, rule: Rule, unet: UNet) -> Rule:
    """The rule of q, k or v, which the source holds side by side for every head."""
    found = re.search("/([qkv])/", path)
    if found is None:
        return rule

    def part(x: np.ndarray) -> np.ndarray:
        heads = x.reshape(-1, 3, unet.head, *x.shape[1:2])
        return rule.change(heads[:, "qkv".index(found[1])].reshape(-1, *x.shape[1:2]))

    return Rule(rule.source, part)


def _rules(template: Params, name: Callable[[str], str]) -> dict[str, Rule]:
    leaves = by_path(template).items()
    return {path: Rule(name(path), _change(path, leaf), _undo(path, leaf)) for path, leaf in leaves}


def _change(path: str, slot: Any) -> Change:
    if not path.endswith("kernel"):
        return np.asarray
    if len(slot.shape) == 4:
        return lambda x: x.transpose(2, 3, 1, 0)
    return lambda x: x.reshape(x.shape[:2]).T


def _undo(path: str, slot: Any) -> Change:
    if not path.endswith("kernel"):
        return np.asarray
    return (lambda x: x.transpose(3, 2, 0, 1)) if len(slot.shape) == 4 else np.transpose


def _renamed(path: str, renaming: Renaming) -> str:
    for pattern, new in renaming:
        path = re.sub(pattern, new, path)
    return path.replace("/", ".")
