"""Discriminators of the rosinality port and of NVIDIA as parameters of ours: to compare what both compute.

The program needs none of another's, so it does not read them.
"""

from fnmatch import filter as matching

import jax
import jax.numpy as jnp

from latentfp import rng
from latentfp.checkpoints.adopt import Imported, NameTable, Rule, adopt, ignored
from latentfp.checkpoints.stylegan2 import DENSE, FILTER, OIHW, ROSINALITY_IGNORED, SAME
from latentfp.checkpoints.torch_files import flatten
from latentfp.generators.stylegan2.networks import Discriminator, resolutions


def _flat(x):
    """[out, c·4·4], reading a map flattened as c, h, w; ours: [4·4·c, out], reading h, w, c."""
    return x.reshape(len(x), -1, 4, 4).transpose(2, 3, 1, 0).reshape(-1, len(x))


FLAT_DENSE = {"kernel": ("weight", (_flat,)), "bias": ("bias", SAME)}
CONV = {"kernel": ("weight", OIHW), "bias": ("bias", SAME)}
ROSINALITY_CONV = {"kernel": ("0.weight", OIHW), "bias": ("1.bias", SAME)}
ROSINALITY_BLOCK = {
    "conv0/kernel": ("conv1.0.weight", OIHW),
    "conv0/bias": ("conv1.1.bias", SAME),
    "conv1/kernel": ("conv2.1.weight", OIHW),
    "conv1/bias": ("conv2.2.bias", SAME),
    "skip/kernel": ("skip.1.weight", OIHW),
}
NVIDIA_BLOCK = {
    "conv0/kernel": ("conv0.weight", OIHW),
    "conv0/bias": ("conv0.bias", SAME),
    "conv1/kernel": ("conv1.weight", OIHW),
    "conv1/bias": ("conv1.bias", SAME),
    "skip/kernel": ("skip.weight", OIHW),
}
IGNORED = ROSINALITY_IGNORED | {"g_ema.*": "the generator", "latent_avg": "belongs to the generator"}
del IGNORED["d.*"]


def from_rosinality(tree) -> Imported:
    """Of a training checkpoint {"d": state, …}, as `read_tensors` returns it."""
    tensors = flatten(tree)
    size = 4 * 2 ** len(matching(tensors, "d.convs.*.skip.1.weight"))
    blocks = range(len(resolutions(size)) - 1, 0, -1)
    widths = [len(tensors[f"d.convs.{i}.skip.1.weight"]) for i in blocks]
    fields = {"size": size, "channels": [*widths, len(tensors["d.convs.0.0.weight"])]}
    rules = _rules("from_rgb", "d.convs.0", ROSINALITY_CONV)
    for i, resolution in enumerate(resolutions(size)[:0:-1]):
        rules |= _rules(f"b{resolution}", f"d.convs.{i + 1}", ROSINALITY_BLOCK)
    rules |= _rules("b4_conv", "d.final_conv", ROSINALITY_CONV)
    rules |= _rules("b4_fc", "d.final_linear.0", FLAT_DENSE) | _rules("b4_out", "d.final_linear.1", DENSE)
    return _imported(fields, tensors, NameTable("rosinality's", rules, {"d.*.kernel": FILTER}, IGNORED))


def from_nvidia(settings, tensors) -> Imported:
    """Of what `read_network(path, "D")` returned, without classes."""
    size = 4 * 2 ** len(matching(tensors, "b*.skip.weight"))
    (clamp,) = {
        settings[name] for name in matching(settings, "*.conv_clamp") if "skip" not in name
    }  # skip connections are never clamped
    fields = {
        "size": size,
        "channels": [
            *(len(tensors[f"b{r}.skip.weight"]) for r in resolutions(size)[1:]),
            len(tensors[f"b{size}.fromrgb.weight"]),
        ],
        "group": settings.get("b4.mbstd.group_size", 1),
        "clamp": None if clamp is None else float(clamp),
    }
    rules = _rules("from_rgb", f"b{size}.fromrgb", CONV)
    for resolution in resolutions(size)[1:]:
        rules |= _rules(f"b{resolution}", f"b{resolution}", NVIDIA_BLOCK)
    rules |= _rules("b4_conv", "b4.conv", CONV)
    rules |= _rules("b4_fc", "b4.fc", FLAT_DENSE) | _rules("b4_out", "b4.out", DENSE)
    return _imported(fields, tensors, NameTable("NVIDIA's", rules, {"*.resample_filter": FILTER}))


def _imported(fields, tensors, table) -> Imported:
    images = jax.ShapeDtypeStruct((1, fields["size"], fields["size"], 3), jnp.float32)
    template = jax.eval_shape(Discriminator(**fields).init, rng.root(0), images)["params"]
    params = adopt(tensors, table, template)
    return Imported("discriminator", fields, params, ignored(tensors, table))


def _rules(target, source, leaves):
    return {
        f"{target}/{ours}": Rule(f"{source}.{name}", arrangement[0])
        for ours, (name, arrangement) in leaves.items()
    }
