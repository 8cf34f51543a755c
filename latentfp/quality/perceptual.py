"""LPIPS, the distance in which the paper's attribution compares images (network VGG16, version 0.1).

    d(a, b) = Σ_l mean over places of  Σ_c w_lc (f_lc(a) / |f_l(a)| - f_lc(b) / |f_l(b)|)²

f_l: activations after the last ReLU of each of the five stages of VGG16, [h_l w_l c_l]; |f_l|: their norm
over the channels at a place, plus 1e-10; w_l: published non-negative weights. Source: Zhang et al. 2018,
*The Unreasonable Effectiveness of Deep Features as a Perceptual Metric*.

The weights w_l ship with the package (1472 numbers, BSD 2-clause, see lpips_vgg_linear.LICENSE). Those of
VGG16 are too large to ship: the user names a file with torchvision's tensors.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latentfp.checkpoints.adopt import NameTable, Rule, adopt
from latentfp.checkpoints.torch_files import read_tensors
from latentfp.quality.features import convolved
from latentfp.quality.pixels import halved
from latentfp.types import Image, Params, Scalar

CONVOLUTIONS = (2, 2, 3, 3, 3)
CHANNELS = (64, 128, 256, 512, 512)
SMALLEST = 16
SHIFT = np.array([-0.030, -0.088, -0.188], np.float32)[None, None]
SCALE = np.array([0.458, 0.448, 0.450], np.float32)[None, None]
LINEAR_FILE = Path(__file__).with_name("lpips_vgg_linear.npz")
IGNORED = {"classifier.*": "names the object in a photograph, after the last stage"}

Taps = list[Float[Array, "_ _ _"]]


def lpips(params: Params, a: Image, b: Image) -> Scalar:
    """The perceptual distance of two images, nominally in [-1, 1]; 0 for equal ones.

    `params` come from `load`. Sides of at least 16 pixels, else ValueError; below 32 the last stage sees
    a single place. Convolutions run in the precision that JAX is set to.
    """
    return tap_distance(params, vgg_taps(params, a), vgg_taps(params, b))


def vgg_taps(params: Params, image: Image) -> Taps:
    """The activations at the end of the five stages; stage l halves the sides l times, rounding down."""
    h, w, _ = image.shape
    if min(h, w) < SMALLEST:
        raise ValueError(f"LPIPS of an image of {h}x{w}: VGG16 needs at least {SMALLEST}x{SMALLEST} pixels")
    x = (image - SHIFT) / SCALE
    layers = iter(params["trunk"])
    taps = []
    for count in CONVOLUTIONS:
        x = halved(x, over=jnp.max) if taps else x
        for _ in range(count):
            layer = next(layers)
            x = jax.nn.relu(convolved(layer["kernel"], x) + layer["bias"][None, None])
        taps.append(x)
    return taps


def tap_distance(params: Params, a: Taps, b: Taps) -> Scalar:
    """LPIPS from the activations of both images; for comparing many images with one."""
    stages = zip(params["linear"], a, b, strict=True)
    return jnp.stack([jnp.mean(jnp.square(_unit(f) - _unit(g)) @ weights) for weights, f, g in stages]).sum()


def load(path: Path) -> Params:
    """Parameters of `lpips`, with VGG16 from a .pth or .safetensors file; see `from_torchvision`."""
    return from_torchvision(read_tensors(path))


def from_torchvision(tensors: Mapping[str, np.ndarray]) -> Params:
    """`trunk`: 13 × kernel [3 3 i o] and bias [o], from torchvision's vgg16; `linear`: 5 × [c], as shipped.

    Raises ValueError that names every tensor that is missing, superfluous or misshapen.
    """
    rules, trunk = {}, []
    for layer, (name, before, channels) in enumerate(_layers()):
        rules[f"{layer}/kernel"] = Rule(f"{name}.weight", lambda oihw: oihw.transpose(2, 3, 1, 0))
        rules[f"{layer}/bias"] = Rule(f"{name}.bias", np.asarray)
        shapes = {"kernel": (3, 3, before, channels), "bias": (channels,)}
        trunk.append({key: jax.ShapeDtypeStruct(shape, np.float32) for key, shape in shapes.items()})
    with np.load(LINEAR_FILE, allow_pickle=False) as linear:
        weights = [jnp.asarray(linear[f"lin{stage}"]) for stage in range(len(CHANNELS))]
    return {
        "trunk": adopt(tensors, NameTable("torchvision's vgg16", rules, ignored=IGNORED), trunk),
        "linear": weights,
    }


def _layers() -> Iterator[tuple[str, int, int]]:
    """Name, input and output channels of each convolution. torchvision counts ReLUs and poolings too."""
    index, before = 0, 3
    for count, channels in zip(CONVOLUTIONS, CHANNELS, strict=True):
        for _ in range(count):
            yield f"features.{index}", before, channels
            index, before = index + 2, channels
        index += 1


def _unit(x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """Divided by the norm over the channels; 0 stays 0, with a finite gradient."""
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    norm = jnp.sqrt(jnp.where(square > 0, square, 1.0))
    return x / (norm + 1e-10)
