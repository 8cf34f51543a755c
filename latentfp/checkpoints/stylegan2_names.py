"""How the tensors of two public StyleGAN2 implementations, rosinality's and NVIDIA's, become our parameters.

All three store the same numbers: weights of unit variance that are scaled when used, biases of the mapping
network divided by its learning-rate multiplier, kernels of the doubling convolution unflipped. They differ in
names and in layout (NCHW and OIHW there, NHWC and HWIO here); the first dense layer of the discriminator
reads a flattened 4×4 map, so its rows are reordered. Rosinality numbers its layers in the order of the noise
maps; NVIDIA names them by resolution, as we do.
"""

from collections.abc import Callable, Mapping

import numpy as np

from latentfp.checkpoints.adopt import NameTable, Rule
from latentfp.generators.stylegan2.ops import FIR
from latentfp.generators.stylegan2.synthesis import resolutions

# Parameters of a module: our path below it -> (the source's path below it, change of layout).
Leaves = Mapping[str, tuple[str, Callable[[np.ndarray], np.ndarray]]]
Rules = dict[str, Rule]


def conv_kernel(x: np.ndarray) -> np.ndarray:
    """[1, out, in, h, w] or [out, in, h, w] to [h, w, in, out]."""
    return x.reshape(x.shape[-4:]).transpose(2, 3, 1, 0)


def dense_kernel(x: np.ndarray) -> np.ndarray:
    """[out, in] to [in, out]."""
    return x.T


def flat_kernel(x: np.ndarray) -> np.ndarray:
    """[out, c·4·4], reading a map flattened as c, h, w, to [4·4·c, out], reading h, w, c."""
    return x.reshape(len(x), -1, 4, 4).transpose(2, 3, 1, 0).reshape(-1, len(x))


def const_map(x: np.ndarray) -> np.ndarray:
    """[1, c, h, w] or [c, h, w] to [h, w, c]."""
    return x.reshape(x.shape[-3:]).transpose(1, 2, 0)


def same(x: np.ndarray) -> np.ndarray:
    """No change of layout."""
    return x


DENSE: Leaves = {"kernel": ("weight", dense_kernel), "bias": ("bias", same)}
FLAT_DENSE: Leaves = {"kernel": ("weight", flat_kernel), "bias": ("bias", same)}
CONV: Leaves = {"kernel": ("weight", conv_kernel), "bias": ("bias", same)}

ROSINALITY_MODULATED: Leaves = {
    "conv/kernel": ("conv.weight", conv_kernel),
    "conv/affine/kernel": ("conv.modulation.weight", dense_kernel),
    "conv/affine/bias": ("conv.modulation.bias", same),
}
ROSINALITY_TO_RGB: Leaves = {**ROSINALITY_MODULATED, "bias": ("bias", np.squeeze)}
ROSINALITY_STYLED: Leaves = {
    **ROSINALITY_MODULATED,
    "noise_strength": ("noise.weight", np.squeeze),
    "bias": ("activate.bias", same),
}
ROSINALITY_CONV: Leaves = {"kernel": ("0.weight", conv_kernel), "bias": ("1.bias", same)}
ROSINALITY_BLOCK: Leaves = {
    "conv0/kernel": ("conv1.0.weight", conv_kernel),
    "conv0/bias": ("conv1.1.bias", same),
    "conv1/kernel": ("conv2.1.weight", conv_kernel),
    "conv1/bias": ("conv2.2.bias", same),
    "skip/kernel": ("skip.1.weight", conv_kernel),
}
NVIDIA_TO_RGB: Leaves = {
    "conv/kernel": ("weight", conv_kernel),
    "conv/affine/kernel": ("affine.weight", dense_kernel),
    "conv/affine/bias": ("affine.bias", same),
    "bias": ("bias", same),
}
NVIDIA_STYLED: Leaves = {**NVIDIA_TO_RGB, "noise_strength": ("noise_strength", same)}
NVIDIA_BLOCK: Leaves = {
    "conv0/kernel": ("conv0.weight", conv_kernel),
    "conv0/bias": ("conv0.bias", same),
    "conv1/kernel": ("conv1.weight", conv_kernel),
    "conv1/bias": ("conv1.bias", same),
    "skip/kernel": ("skip.weight", conv_kernel),
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
    return {f"{target}/{ours}": Rule(f"{source}.{name}", change) for ours, (name, change) in leaves.items()}


def rosinality_generator(size: int, mapping_layers: int) -> NameTable:
    """Of a whole checkpoint {"g_ema", "latent_avg", …}, flattened."""
    rules = {
        "synthesis/const": Rule("g_ema.input.input", const_map),
        "w_average": Rule("latent_avg", np.ravel),
    }
    for i in range(mapping_layers):
        rules |= _rules(f"mapping/fc{i}", f"g_ema.style.{i + 1}", DENSE)
    for i, (resolution, name) in enumerate(conv_names(size)):
        source = f"g_ema.convs.{i - 1}" if i else "g_ema.conv1"
        rules |= _rules(f"synthesis/b{resolution}_{name}", source, ROSINALITY_STYLED)
        rules[f"noise/{i}"] = Rule(f"g_ema.noises.noise_{i}", np.squeeze)
    for i, resolution in enumerate(resolutions(size)):
        source = f"g_ema.to_rgbs.{i - 1}" if i else "g_ema.to_rgb1"
        rules |= _rules(f"synthesis/b{resolution}_to_rgb", source, ROSINALITY_TO_RGB)
    ignored = {"d.*": "the discriminator is not needed to generate", **ROSINALITY_TRAINING}
    return NameTable("a rosinality generator", rules, {"g_ema.*.kernel": DOUBLING_FILTER}, ignored)


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


def nvidia_generator(size: int, mapping_layers: int) -> NameTable:
    """Of the tensors of "G_ema" or "G"."""
    rules = {
        "synthesis/const": Rule("synthesis.b4.const", const_map),
        "w_average": Rule("mapping.w_avg", same),
    }
    for i in range(mapping_layers):
        rules |= _rules(f"mapping/fc{i}", f"mapping.fc{i}", DENSE)
    for i, (resolution, name) in enumerate(conv_names(size)):
        source = f"synthesis.b{resolution}.{name}"
        rules |= _rules(f"synthesis/b{resolution}_{name}", source, NVIDIA_STYLED)
        rules[f"noise/{i}"] = Rule(f"{source}.noise_const", same)
    for resolution in resolutions(size):
        rules |= _rules(f"synthesis/b{resolution}_to_rgb", f"synthesis.b{resolution}.torgb", NVIDIA_TO_RGB)
    return NameTable("an NVIDIA generator", rules, {"*.resample_filter": FILTER})


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
