"""Features of images: of many, in batches, by whatever network; and random ones, which need no download.

Random features come from a convolutional network that was never trained: two stages of 3×3 convolution and
ReLU (32, then 64 channels, no biases), 2×2 averaging between them, and the average of each channel over the
image: 96 numbers. Weights are normal with variance 2 / fan-in, from NumPy generators seeded [2020, stage];
each filter of the first stage has its average over the 3×3 places removed, because otherwise the overall
brightness decides nearly all of a Fréchet distance. So the features see edges, texture and contrast, and
hardly a uniform change of brightness.

Random embeddings follow Naeem et al. 2020, *Reliable Fidelity and Diversity Metrics for Generative Models*,
which argues for them on data unlike ImageNet's photographs. A Fréchet distance of these features is NOT the
Inception FID: its numbers compare only with each other, at one image size.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from latentfp.pixels import to_float
from latentfp.quality.pixels import halved
from latentfp.runtime.batches import batches
from latentfp.runtime.progress import track
from latentfp.types import Image, Images, Params

SEED = 2020
CHANNELS = (32, 64)
Function = Callable[[Params, Image], Float[Array, " f"]]
Kernel = Float[np.ndarray, "kh kw i o"] | Float[Array, "kh kw i o"]


class Embedding(NamedTuple):
    """`function(params, image)`: the features of an image in [-1, 1]; `batch`: how many images at once."""

    function: Function
    params: Params
    batch: int


def features(embedding: Embedding, images: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n f"]:
    """The features of pixels, at least one image; shows its progress."""
    parts = [
        np.asarray(_embed(embedding.function, embedding.params, to_float(images[rows])))
        for rows in track(batches(len(images), min(embedding.batch, len(images))), "computing features")
    ]
    return np.concatenate(parts)[: len(images)]


def random_features(image: Image) -> Float[Array, " f"]:
    """The 96 random features of an image in [-1, 1], of at least 2×2 pixels.

    The second stage does not see the last row or column of an odd number.
    """
    fine, coarse = _weights()
    edges = jax.nn.relu(convolved(fine, image))
    shapes = jax.nn.relu(convolved(coarse, halved(edges)))
    return jnp.concatenate([edges.mean((0, 1)), shapes.mean((0, 1))])


RANDOM = Embedding(lambda _params, image: random_features(image), {}, batch=100)


@partial(jax.jit, static_argnums=0)
def _embed(function: Function, params: Params, images: Images) -> Float[Array, "b f"]:
    return jax.vmap(function, in_axes=(None, 0))(params, images)


def convolved(
    kernel: Kernel, x: Float[Array, "h w i"], stride: int = 1, padding: str = "SAME", **options: Any
) -> Float[Array, "y x o"]:
    """A convolution, of the precision that JAX is set to unless `options` say otherwise."""
    dimensions, strides = ("NHWC", "HWIO", "NHWC"), (stride, stride)
    given = (x[None], jnp.asarray(kernel), strides, padding)
    return jax.lax.conv_general_dilated(*given, dimension_numbers=dimensions, **options)[0]


@cache
def _weights() -> list[np.ndarray]:
    shapes = [(3, 3, before, after) for before, after in zip((3, *CHANNELS), CHANNELS, strict=False)]
    normals = [
        np.random.default_rng([SEED, stage]).standard_normal(shape) for stage, shape in enumerate(shapes)
    ]
    normals[0] -= normals[0].mean((0, 1))
    return [(np.sqrt(2 / np.prod(x.shape[:3])) * x).astype(np.float32) for x in normals]
