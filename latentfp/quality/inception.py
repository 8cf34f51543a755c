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
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latentfp.checkpoints.adopt import NameTable, Rule, adopt
from latentfp.checkpoints.torch_files import flatten, read_tensors
from latentfp.quality.inception_layers import NETWORK, Convolution, Pool, Step, convolutions
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
            x = _convolved(step, params[step.name], x)
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


def _convolved(step: Convolution, layer: Params, x: Float[Array, "h w c"]) -> Float[Array, "i j o"]:
    y = jax.lax.conv_general_dilated(
        x[None],
        layer["kernel"],
        (step.stride, step.stride),
        step.padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )[0]
    return jax.nn.relu(y + layer["bias"][None, None])


def _pooled(pool: Pool, x: Float[Array, "h w c"]) -> Float[Array, "i j c"]:
    if pool is Pool.AVERAGE:
        return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)
    if pool is Pool.LARGEST:
        return nn.max_pool(x, (3, 3), (1, 1), "SAME")
    return nn.max_pool(x, (3, 3), (2, 2), "VALID")
