"""How the tensors of two public StyleGAN2 implementations, rosinality's and NVIDIA's, become our parameters.

All three store the same numbers: weights of unit variance that are scaled when used, biases of the mapping
network divided by its learning-rate multiplier, kernels of the doubling convolution unflipped. They differ in
names and in layout (NCHW and OIHW there, NHWC and HWIO here); the first dense layer of the discriminator
reads a flattened 4×4 map, so its rows are reordered. Rosinality numbers its layers in the order of the noise
maps; NVIDIA names them by resolution, as we do.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from latentfp.checkpoints.adopt import Change, NameTable, Rule
from latentfp.generators.stylegan2.ops import FIR
from latentfp.generators.stylegan2.synthesis import resolutions


class Arrangement(NamedTuple):
    """How the source arranges an array: the change to our arrangement, and back where it is written, too."""

    change: Change
    undo: Change | None = None


# Parameters of a module: our path below it -> (the source's path below it, its layout).
Leaves = Mapping[str, tuple[str, Arrangement]]
Rules = dict[str, Rule]


def _hwio(x: np.ndarray) -> np.ndarray:
    return x.reshape(x.shape[-4:]).transpose(2, 3, 1, 0)


def _hwc(x: np.ndarray) -> np.ndarray:
    return x.reshape(x.shape[-3:]).transpose(1, 2, 0)


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1, 4, 4).transpose(2, 3, 1, 0).reshape(-1, len(x))


SAME = Arrangement(lambda x: x, lambda x: x)
OI = Arrangement(lambda x: x.T, lambda x: x.T)  # ours: [in, out]
OIHW = Arrangement(_hwio, lambda x: x.transpose(3, 2, 0, 1))  # ours: [h, w, in, out]
ONE_OIHW = Arrangement(_hwio, lambda x: x.transpose(3, 2, 0, 1)[None])
CHW = Arrangement(_hwc, lambda x: x.transpose(2, 0, 1))  # ours: [h, w, c]
ONE_CHW = Arrangement(_hwc, lambda x: x.transpose(2, 0, 1)[None])
ONE_ONE_HW = Arrangement(np.squeeze, lambda x: x[None, None])
ONE_C_ONE_ONE = Arrangement(np.squeeze, lambda x: x[None, :, None, None])
ONE = Arrangement(np.squeeze, lambda x: x[None])  # ours: a number
VECTOR = Arrangement(np.ravel, np.ravel)
FLAT = Arrangement(
    _flat
)  # [out, c·4·4], reading a map flattened as c, h, w; ours: [4·4·c, out], reading h, w, c

DENSE: Leaves = {"kernel": ("weight", OI), "bias": ("bias", SAME)}
FLAT_DENSE: Leaves = {"kernel": ("weight", FLAT), "bias": ("bias", SAME)}
CONV: Leaves = {"kernel": ("weight", OIHW), "bias": ("bias", SAME)}

ROSINALITY_MODULATED: Leaves = {
    "conv/kernel": ("conv.weight", ONE_OIHW),
    "conv/affine/kernel": ("conv.modulation.weight", OI),
    "conv/affine/bias": ("conv.modulation.bias", SAME),
}
ROSINALITY_TO_RGB: Leaves = {**ROSINALITY_MODULATED, "bias": ("bias", ONE_C_ONE_ONE)}
ROSINALITY_STYLED: Leaves = {
    **ROSINALITY_MODULATED,
    "noise_strength": ("noise.weight", ONE),
    "bias": ("activate.bias", SAME),
}
ROSINALITY_CONV: Leaves = {"kernel": ("0.weight", OIHW), "bias": ("1.bias", SAME)}
ROSINALITY_BLOCK: Leaves = {
    "conv0/kernel": ("conv1.0.weight", OIHW),
    "conv0/bias": ("conv1.1.bias", SAME),
    "conv1/kernel": ("conv2.1.weight", OIHW),
    "conv1/bias": ("conv2.2.bias", SAME),
    "skip/kernel": ("skip.1.weight", OIHW),
}
NVIDIA_TO_RGB: Leaves = {
    "conv/kernel": ("weight", OIHW),
    "conv/affine/kernel": ("affine.weight", OI),
    "conv/affine/bias": ("affine.bias", SAME),
    "bias": ("bias", SAME),
}
NVIDIA_STYLED: Leaves = {**NVIDIA_TO_RGB, "noise_strength": ("noise_strength", SAME)}
NVIDIA_BLOCK: Leaves = {
    "conv0/kernel": ("conv0.weight", OIHW),
    "conv0/bias": ("conv0.bias", SAME),
    "conv1/kernel": ("conv1.weight", OIHW),
    "conv1/bias": ("conv1.bias", SAME),
    "skip/kernel": ("skip.weight", OIHW),
}

FILTER = np.outer(FIR, FIR)
DOUBLING_FILTER = 4 * FILTER  # rosinality stores it with the gain of 2 per axis
ROSINALITY_TRAINING = {
    "g.*": "the generator before averaging",
    "g_optim.*": "the generator's optimiser",
    "d_optim.*": "the discriminator's optimiser",
    "ada_aug_p": "the state of the augmentation",
}


def _rules(target: str, source: str, leaves: Leaves) -> Rules:
    return {
        f"{target}/{ours}": Rule(f"{source}.{name}", *arrangement)
        for ours, (name, arrangement) in leaves.items()
    }


def rosinality_generator(size: int, mapping_layers: int) -> NameTable:
    """Of a whole checkpoint {"g_ema", "latent_avg", …}, flattened."""
    rules = {
        "synthesis/const": Rule("g_ema.input.input", *ONE_CHW),
        "w_average": Rule("latent_avg", *VECTOR),
    }
    for i in range(mapping_layers):
        rules |= _rules(f"mapping/fc{i}", f"g_ema.style.{i + 1}", DENSE)
    for i, (resolution, name) in enumerate(conv_names(size)):
        source = f"g_ema.convs.{i - 1}" if i else "g_ema.conv1"
        rules |= _rules(f"synthesis/b{resolution}_{name}", source, ROSINALITY_STYLED)
        rules[f"noise/{i}"] = Rule(f"g_ema.noises.noise_{i}", *ONE_ONE_HW)
    for i, resolution in enumerate(resolutions(size)):
        source = f"g_ema.to_rgbs.{i - 1}" if i else "g_ema.to_rgb1"
        rules |= _rules(f"synthesis/b{resolution}_to_rgb", source, ROSINALITY_TO_RGB)
    ignored = {"d.*": "the discriminator is not needed to generate", **ROSINALITY_TRAINING}
    doublings = range(len(resolutions(size)) - 1)
    filters = [f"g_ema.convs.{2 * i}.conv.blur.kernel" for i in doublings]
    filters += [f"g_ema.to_rgbs.{i}.upsample.kernel" for i in doublings]
    return NameTable("a rosinality generator", rules, dict.fromkeys(filters, DOUBLING_FILTER), ignored)


def rosinality_discriminator(size: int) -> NameTable:
    """Of a whole checkpoint {"d", …}, flattened."""
    rules = _rules("from_rgb", "d.convs.0", ROSINALITY_CONV)
    for i, resolution in enumerate(resolutions(size)[:0:-1]):
        rules |= _rules(f"b{resolution}", f"d.convs.{i + 1}", ROSINALITY_BLOCK)
    rules |= _rules("b4_conv", "d.final_conv", ROSINALITY_CONV)
    rules |= _rules("b4_fc", "d.final_linear.0", FLAT_DENSE) | _rules("b4_out", "d.final_linear.1", DENSE)
    ignored = {"g_ema.*": "the generator is not needed to judge", "latent_avg": "belongs to the generator"}
    ignored |= ROSINALITY_TRAINING
    return NameTable("a rosinality discriminator", rules, {"d.*.kernel": FILTER}, ignored)


def nvidia_generator(size: int, mapping_layers: int, *, labelled: bool = False) -> NameTable:
    """Of the tensors of "G_ema" or "G"."""
    rules = {
        "synthesis/const": Rule("synthesis.b4.const", *CHW),
        "w_average": Rule("mapping.w_avg", *SAME),
    }
    for dense in ["embed"] * labelled + [f"fc{i}" for i in range(mapping_layers)]:
        rules |= _rules(f"mapping/{dense}", f"mapping.{dense}", DENSE)
    for i, (resolution, name) in enumerate(conv_names(size)):
        source = f"synthesis.b{resolution}.{name}"
        rules |= _rules(f"synthesis/b{resolution}_{name}", source, NVIDIA_STYLED)
        rules[f"noise/{i}"] = Rule(f"{source}.noise_const", *SAME)
    for resolution in resolutions(size):
        rules |= _rules(f"synthesis/b{resolution}_to_rgb", f"synthesis.b{resolution}.torgb", NVIDIA_TO_RGB)
    filtered = [f"b{r}" for r in resolutions(size)] + [f"b{r}.{name}" for r, name in conv_names(size)]
    filters = [f"synthesis.{module}.resample_filter" for module in filtered]
    return NameTable("an NVIDIA generator", rules, dict.fromkeys(filters, FILTER))


def nvidia_discriminator(size: int) -> NameTable:
    """Of the tensors of "D"."""
    rules = _rules("from_rgb", f"b{size}.fromrgb", CONV)
    for resolution in resolutions(size)[1:]:
        rules |= _rules(f"b{resolution}", f"b{resolution}", NVIDIA_BLOCK)
    rules |= _rules("b4_conv", "b4.conv", CONV)
    rules |= _rules("b4_fc", "b4.fc", FLAT_DENSE) | _rules("b4_out", "b4.out", DENSE)
    return NameTable("an NVIDIA discriminator", rules, {"*.resample_filter": FILTER})


def conv_names(size: int) -> list[tuple[int, str]]:
    """(resolution, name) of every convolution of the synthesis network, in the order of the noise maps."""
    return [(4, "conv1")] + [(r, name) for r in resolutions(size)[1:] for name in ("conv0", "conv1")]
