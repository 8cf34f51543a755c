"""The 2048 features of InceptionV3 in which published Fréchet distances ("FID") compare images.

The weights are too large to ship: the user names a file. The standard one is that of pytorch-fid,
`pt_inception-2015-12-05-6726825d.pth`: the TensorFlow network of Heusel et al. 2017 under torchvision's
names, with 1008 classes. By PyTorch's custom the end of a name is the beginning of the file's SHA-256.
torchvision's own `inception_v3_google-*.pth`, with 1000 classes, is refused: other weights under the same
names, whose distances do not compare with published ones.

Preprocessing as in pytorch-fid: pixels / 255, bilinear to 299×299 without antialiasing, 2 x - 1. Place i of
299 looks at s = (i + ½) h / 299 - ½, limited to [0, h - 1], and takes (1 - t) x[⌊s⌋] + t x[⌊s⌋ + 1] with
t = s - ⌊s⌋; rows, then columns. The weights add to 1, so images in [-1, 1] are resized as they are.

The network differs from torchvision's: averages over 3×3 places leave out those beyond the edge, and the pool
of the last block is a maximum. Convolutions are float32 whatever precision JAX is set to.

Source: github.com/mseitzer/pytorch-fid, src/pytorch_fid/inception.py; its README says how near it comes to
the TensorFlow program. Precision and recall of Kynkäänniemi et al. 2019 are in features of VGG16 instead.

The layers up to the last average are data: a chain of steps, of which a fork gives its input to several
chains and joins their channels in order. Names are those of the tensors in PyTorch checkpoints. Source:
Szegedy et al. 2016, *Rethinking the Inception Architecture for Computer Vision*; pytorch-fid for names and
pools.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latentfp.checkpoints.adopt import NameTable, Rule, adopt
from latentfp.checkpoints.torch_files import flatten, read_tensors
from latentfp.quality.features import convolved
from latentfp.types import Image, Params

SIDE = 299
TORCHVISION_CLASSES = 1000
EPSILON = 1e-3  # of the batch normalisations
TENSORS = {
    "kernel": "conv.weight",
    "scale": "bn.weight",
    "bias": "bn.bias",
    "mean": "bn.running_mean",
    "variance": "bn.running_var",
}
IGNORED = {
    "fc.*": "names the object in a photograph, after the features",
    "AuxLogits.*": "helps only in training; not in the standard file",
    "*.bn.num_batches_tracked": "counts training steps",
}


class Convolution(NamedTuple):
    """Without bias, then batch normalisation, then ReLU. `kernel`: height and width, both odd.

    `padding`: SAME keeps the sides at stride 1, VALID uses whole windows only.
    """

    name: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"


class Pool(Enum):
    """Over 3×3 places. Places outside the image count in none of them."""

    AVERAGE = "mean, sides kept"
    LARGEST = "maximum, sides kept"
    HALVING = "maximum of whole windows at stride 2"


class Fork(NamedTuple):
    """Chains with one input; their outputs are joined along the channels."""

    branches: tuple[tuple["Step", ...], ...]


Step = Convolution | Pool | Fork


def width(steps: Sequence[Step], channels: int) -> int:
    """How many channels leave a chain that `channels` enter."""
    for step in steps:
        if isinstance(step, Convolution):
            channels = step.channels
        elif isinstance(step, Fork):
            channels = sum(width(branch, channels) for branch in step.branches)
    return channels


def convolutions(steps: Sequence[Step], channels: int) -> Iterator[tuple[Convolution, int]]:
    """Every convolution of a chain, with the number of channels that enter it."""
    for step in steps:
        if isinstance(step, Convolution):
            yield step, channels
        elif isinstance(step, Fork):
            for branch in step.branches:
                yield from convolutions(branch, channels)
        channels = width([step], channels)


HALVING = ((3, 3), 2, "VALID")  # the fields of a convolution after the channels


def _fork(at: str, *branches: Sequence[Step | tuple[Any, ...]]) -> Fork:
    """A fork of which the names of convolutions, given by the fields of these, follow that of the block."""

    def step(given: Step | tuple[Any, ...]) -> Step:
        if isinstance(given, Step):
            return given
        name, *fields = given
        return Convolution(f"{at}.{name}", *fields)

    return Fork(tuple(tuple(map(step, branch)) for branch in branches))


def _cross(name: str) -> Fork:
    """A row and a column of three places beside each other."""
    return Fork(((Convolution(f"{name}a", 384, (1, 3)),), (Convolution(f"{name}b", 384, (3, 1)),)))


def _block_5(at: str, pooled: int) -> Fork:
    return _fork(
        at,
        [("branch1x1", 64)],
        [("branch5x5_1", 48), ("branch5x5_2", 64, (5, 5))],
        [("branch3x3dbl_1", 64), ("branch3x3dbl_2", 96, (3, 3)), ("branch3x3dbl_3", 96, (3, 3))],
        [Pool.AVERAGE, ("branch_pool", pooled)],
    )


def _block_6a(at: str) -> Fork:
    return _fork(
        at,
        [("branch3x3", 384, *HALVING)],
        [("branch3x3dbl_1", 64), ("branch3x3dbl_2", 96, (3, 3)), ("branch3x3dbl_3", 96, *HALVING)],
        [Pool.HALVING],
    )


def _block_6(at: str, inner: int) -> Fork:
    return _fork(
        at,
        [("branch1x1", 192)],
        [("branch7x7_1", inner), ("branch7x7_2", inner, (1, 7)), ("branch7x7_3", 192, (7, 1))],
        [
            ("branch7x7dbl_1", inner),
            ("branch7x7dbl_2", inner, (7, 1)),
            ("branch7x7dbl_3", inner, (1, 7)),
            ("branch7x7dbl_4", inner, (7, 1)),
            ("branch7x7dbl_5", 192, (1, 7)),
        ],
        [Pool.AVERAGE, ("branch_pool", 192)],
    )


def _block_7a(at: str) -> Fork:
    return _fork(
        at,
        [("branch3x3_1", 192), ("branch3x3_2", 320, *HALVING)],
        [
            ("branch7x7x3_1", 192),
            ("branch7x7x3_2", 192, (1, 7)),
            ("branch7x7x3_3", 192, (7, 1)),
            ("branch7x7x3_4", 192, *HALVING),
        ],
        [Pool.HALVING],
    )


def _block_7(at: str, pool: Pool) -> Fork:
    double = [("branch3x3dbl_1", 448), ("branch3x3dbl_2", 384, (3, 3)), _cross(f"{at}.branch3x3dbl_3")]
    return _fork(
        at,
        [("branch1x1", 320)],
        [("branch3x3_1", 384), _cross(f"{at}.branch3x3_2")],
        double,
        [pool, ("branch_pool", 192)],
    )


# From 299×299×3: 147×147×64 and 71×71×192 before the two pools, 35×35 in blocks 5, 17×17 in 6, 8×8×2048 last.
NETWORK: tuple[Step, ...] = (
    Convolution("Conv2d_1a_3x3", 32, *HALVING),
    Convolution("Conv2d_2a_3x3", 32, (3, 3), padding="VALID"),
    Convolution("Conv2d_2b_3x3", 64, (3, 3)),
    Pool.HALVING,
    Convolution("Conv2d_3b_1x1", 80),
    Convolution("Conv2d_4a_3x3", 192, (3, 3), padding="VALID"),
    Pool.HALVING,
    _block_5("Mixed_5b", 32),
    _block_5("Mixed_5c", 64),
    _block_5("Mixed_5d", 64),
    _block_6a("Mixed_6a"),
    _block_6("Mixed_6b", 128),
    _block_6("Mixed_6c", 160),
    _block_6("Mixed_6d", 160),
    _block_6("Mixed_6e", 192),
    _block_7a("Mixed_7a"),
    _block_7("Mixed_7b", Pool.AVERAGE),
    _block_7("Mixed_7c", Pool.LARGEST),
)


def inception_features(params: Params, image: Image) -> Float[Array, " 2048"]:
    """The features of an image in [-1, 1] of any size; published distances are those of 8-bit files.

    `params` come from `load`.
    """
    return forward(NETWORK, params, resized(image)).mean((0, 1))


def resized(image: Image) -> Float[Array, "i j 3"]:
    """To 299×299, see above."""
    return jax.image.resize(image, (SIDE, SIDE, 3), "bilinear", antialias=False)


def forward(steps: Sequence[Step], params: Params, x: Float[Array, "h w c"]) -> Float[Array, "i j o"]:
    """What leaves a chain of steps. `params`: kernel [h w c o] and bias [o] by the convolution's name."""
    for step in steps:
        if isinstance(step, Convolution):
            layer, exact = params[step.name], {"precision": jax.lax.Precision.HIGHEST}
            y = convolved(layer["kernel"], x, step.stride, step.padding, **exact)
            x = jax.nn.relu(y + layer["bias"][None, None])
        elif isinstance(step, Pool):
            x = _pooled(step, x)
        else:
            x = jnp.concatenate([forward(branch, params, x) for branch in step.branches], axis=-1)
    return x


def load(path: Path) -> Params:
    """Parameters of `inception_features` from a .pth or .safetensors file.

    ValueError as `from_torch`, and for torchvision's own weights.
    """
    tensors = flatten(read_tensors(path))
    classes = tensors.get("fc.weight")
    if classes is not None and len(classes) == TORCHVISION_CLASSES:
        raise ValueError(
            f"{path} holds torchvision's own weights: its distances would not compare with published ones; "
            "give pytorch-fid's pt_inception-2015-12-05-6726825d.pth"
        )
    return from_torch(tensors)


def from_torch(
    tensors: Mapping[str, np.ndarray], steps: Sequence[Step] = NETWORK, channels: int = 3
) -> Params:
    """Parameters for `forward`, with the batch normalisations in them, from tensors under PyTorch's names.

    `steps`: a chain that `channels` enter.

    Raises ValueError that names the tensors that are missing, superfluous, misshapen or not finite, and one
    that names a variance below 0.
    """
    rules, shapes = {}, {}
    for layer, before in convolutions(steps, channels):
        for part, tensor in TENSORS.items():
            change = _from_oihw if part == "kernel" else np.asarray
            rules[f"{layer.name}/{part}"] = Rule(f"{layer.name}.{tensor}", change)
        vector = jax.ShapeDtypeStruct((layer.channels,), np.float32)
        kernel = jax.ShapeDtypeStruct((*layer.kernel, before, layer.channels), np.float32)
        shapes[layer.name] = {**dict.fromkeys(TENSORS, vector), "kernel": kernel}
    layers = adopt(tensors, NameTable("the InceptionV3 of the FID", rules, ignored=IGNORED), shapes)
    return {name: _folded(name, layer) for name, layer in layers.items()}


def _from_oihw(kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(2, 3, 1, 0)


def _folded(name: str, layer: Params) -> Params:
    """Kernel and bias with the effect of γ (K x - m) / √(v + ε) + β, in float64 until the end."""
    kernel, gamma, beta, mean, variance = (np.asarray(layer[part], np.float64) for part in TENSORS)
    if variance.min() < 0:
        raise ValueError(f"{name}.{TENSORS['variance']} is negative: the file is damaged")
    gain = gamma / np.sqrt(variance + EPSILON)
    return {
        "kernel": jnp.asarray(kernel * gain, jnp.float32),
        "bias": jnp.asarray(beta - mean * gain, jnp.float32),
    }


def _pooled(pool: Pool, x: Float[Array, "h w c"]) -> Float[Array, "i j c"]:
    if pool is Pool.AVERAGE:
        return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)
    if pool is Pool.LARGEST:
        return nn.max_pool(x, (3, 3), (1, 1), "SAME")
    return nn.max_pool(x, (3, 3), (2, 2), "VALID")
