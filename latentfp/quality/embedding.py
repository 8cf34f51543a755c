"""Features of many images, in batches, whatever network computes them."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8

from latentfp.pixels import to_float
from latentfp.quality.features import random_features
from latentfp.runtime.progress import track
from latentfp.types import Image, Images, Params

Function = Callable[[Params, Image], Float[Array, " f"]]


class Embedding(NamedTuple):
    """`function(params, image)`: the features of an image in [-1, 1]; `batch`: how many images at once."""

    function: Function
    params: Params
    batch: int


RANDOM = Embedding(lambda _params, image: random_features(image), {}, batch=100)


def features(embedding: Embedding, images: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n f"]:
    """The features of pixels, at least one image; shows its progress."""
    starts = range(0, len(images), embedding.batch)
    batches = (images[i : i + embedding.batch] for i in track(starts, "computing features"))
    return np.concatenate(
        [np.asarray(_embed(embedding.function, embedding.params, to_float(some))) for some in batches]
    )


@partial(jax.jit, static_argnums=0)
def _embed(function: Function, params: Params, images: Images) -> Float[Array, "b f"]:
    return jax.vmap(function, in_axes=(None, 0))(params, images)
