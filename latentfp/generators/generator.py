"""The interface that everything hangs on: what the method needs of an image generator.

A generator is g: latent w in R^d -> image. It must be deterministic given its parameters, so fixed noise maps
are part of the parameters. Latents are flat vectors here; a generator whose latent is a map reshapes inside.
No caller asks which kind of generator it holds.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from latentfp.types import Images, Key, Latents, Params


class Generator(NamedTuple):
    """Pure functions and sizes.

    sample(params, key, n): n latents [n, d] of the prior in which the fingerprint is written (`n` is static).
    synthesize(params, w): images [b, h, w, 3], nominally in [-1, 1] and not clipped, one for each latent of
        [b, d].
    encode(params, images): an estimate of the latents [b, d], where the generator comes with one.
    renoise(params, key, n): parameters with fresh noise maps for each of n images, where there are any.
    fold(params, axes [k, d], offset [d]): parameters with which w makes what w - axesᵀ axes w + offset made
        before, where an ordinary generator of this kind can do that.
    regenerate(params, key, w, share): the latents with the noise of a `share` in (0, 1] of the diffusion, and
        diffused back, where the prior is a diffusion (`share` is static).
    channels: into how many equal parts the latent falls, as for a latent map flattened channel first.
    """

    name: str
    latent_dim: int
    image_shape: tuple[int, int, int]
    sample: Callable[[Params, Key, int], Latents]
    synthesize: Callable[[Params, Latents], Images]
    encode: Callable[[Params, Images], Latents] | None = None
    renoise: Callable[[Params, Key, int], Params] | None = None
    fold: Callable[[Params, np.ndarray, np.ndarray], Params] | None = None
    regenerate: Callable[[Params, Key, Latents, float], Latents] | None = None
    channels: int = 1
