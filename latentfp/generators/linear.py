"""The generator with exact answers: x = A w + b, w ~ N(0, diag(scale²)).

Test double, smoke configuration and teaching example. A has orthonormal columns times `gain`, so distances
between images are `gain` times distances between latents, and every optimum that a search looks for is known
in closed form.
"""

import math

import jax
import jax.numpy as jnp

from latentfp import rng
from latentfp.generators.generator import Generator, cached_by_fields
from latentfp.types import Images, Key, Latents, Params


@cached_by_fields
def make(*, latent_dim: int = 24, size: int = 8, gain: float = 0.5) -> Generator:
    """A linear generator of `size` × `size` images. `latent_dim` may be at most 3·size²."""
    if latent_dim > 3 * size * size:
        raise ValueError(
            f"latent_dim {latent_dim} exceeds the {3 * size * size} pixels values of a {size}x{size} image"
        )

    def sample(params: Params, key: Key, n: int) -> Latents:
        return params["scale"][None] * jax.random.normal(key, (n, latent_dim))

    def synthesize(params: Params, w: Latents) -> Images:
        flat = gain * jnp.einsum("pd,bd->bp", params["matrix"], w) + params["offset"][None]
        return flat.reshape(-1, size, size, 3)

    def encode(params: Params, images: Images) -> Latents:
        flat = images.reshape(images.shape[0], -1) - params["offset"][None]
        return jnp.einsum("pd,bp->bd", params["matrix"], flat) / gain

    return Generator("linear", latent_dim, (size, size, 3), sample, synthesize, encode)


def init(key: Key, *, latent_dim: int = 24, size: int = 8) -> Params:
    """Random `matrix` [3·size², d] with orthonormal columns and `offset`, and a falling prior `scale` [d]."""
    pixels = 3 * size * size
    gaussian = jax.random.normal(rng.stream(key, "matrix"), (pixels, latent_dim))
    return {
        "matrix": jnp.linalg.qr(gaussian)[0],
        "offset": 0.1 * jax.random.normal(rng.stream(key, "offset"), (pixels,)),
        "scale": jnp.exp(-jnp.arange(latent_dim) * (math.log(20.0) / latent_dim)),
    }
