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


def diffusers_first_stage(template: Params, levels: int, *, early: bool = False) -> NameTable:
    """The rules of a VQModel or AutoencoderKL of so many levels; `early`: the attention has its old names."""
    up = (r"decoder/level(\d+)", lambda m: f"decoder/up_blocks/{levels - 1 - int(m[1])}")
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


def tiny(network: Mapping[str, Any], *, title: str, prefix: str, first: int) -> NameTable:
    """The rules of a TinyAutoencoder's numbered layers; the decoder's begin with number `first`."""
    down, up = list(enumerate(network["encoder_blocks"])), list(enumerate(network["decoder_blocks"]))
    pooled = down[-1][0] if network.get("pooled", False) else None  # the level whose blocks are
    encoder = ["conv_in"]
    for level, count in down:
        encoder += [f"halve{level}"] * (level > 0) + [f"level{level}_block{i}" for i in range(count)]
    decoder = ["conv_in", "ReLU"]
    for level, count in reversed(up):
        decoder += [f"level{level}_block{i}" for i in range(count)]
        decoder += ["doubling", f"double{level}"] * (level > 0)
    rules: dict[str, Rule] = {}
    for side, layers, start in (("encoder", encoder, 0), ("decoder", decoder, first)):
        for number, layer in enumerate([*layers, "conv_out"], start=start):
            source = f"{side}.{prefix}{number}"
            inside = _tiny_layer(layer, pooled=layer.startswith(f"level{pooled}_"))
            rules |= {f"{side}/{path}": rule._replace(source=source + rule.source) for path, rule in inside}
    return NameTable(title, rules)


def _tiny_layer(layer: str, *, pooled: bool) -> list[tuple[str, Rule]]:
    """The parameters of one layer, and the ends of their sources' names; none of a layer without any."""
    kernel, vector = Rule(".weight", _turned, _turned_back), Rule("", np.asarray, np.asarray)
    if layer in ("ReLU", "doubling"):
        return []
    if layer.startswith(("halve", "double")):
        return [(f"{layer}/kernel", kernel)]
    if "_block" not in layer:
        return [(f"{layer}/kernel", kernel), (f"{layer}/bias", vector._replace(source=".bias"))]
    found = [(f"{layer}/conv{i}/kernel", kernel._replace(source=f".conv.{2 * i}.weight")) for i in range(3)]
    found += [(f"{layer}/conv{i}/bias", vector._replace(source=f".conv.{2 * i}.bias")) for i in range(3)]
    if pooled:
        branch = {
            "in": kernel._replace(source=".pool.0.weight"),
            "out": kernel._replace(source=".pool.3.weight"),
        }
        found += [(f"{layer}/pool_{end}/kernel", rule) for end, rule in branch.items()]
        found += [(f"{layer}/pool_norm/scale", vector._replace(source=".pool.1.weight"))]
        found += [(f"{layer}/pool_norm/bias", vector._replace(source=".pool.1.bias"))]
    return found


def _turned(x: np.ndarray) -> np.ndarray:
    return x.transpose(2, 3, 1, 0)


def _turned_back(x: np.ndarray) -> np.ndarray:
    return x.transpose(3, 2, 0, 1)


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
        return _turned
    return lambda x: x.reshape(x.shape[:2]).T


def _undo(path: str, slot: Any) -> Change:
    if not path.endswith("kernel"):
        return np.asarray
    return _turned_back if len(slot.shape) == 4 else np.transpose


def _renamed(path: str, renaming: Renaming) -> str:
    for pattern, new in renaming:
        path = re.sub(pattern, new, path)
    return path.replace("/", ".")
