"""StyleGAN2 behind the generator interface: the latent is w, the noise maps are parameters.

Parameters: {"mapping", "synthesis": network weights, "noise": tuple of maps [h, w], "w_average": [d]}.
"""

import math
from collections.abc import Mapping as Map
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Float

from latentfp import rng
from latentfp.generators.generator import Generator, cached_by_fields
from latentfp.generators.stylegan2.layers import apply
from latentfp.generators.stylegan2.networks import (
    Mapping,
    NoiseMap,
    Synthesis,
    broadcast,
    latent_count,
    noise_sizes,
    resolutions,
    sample,
)
from latentfp.types import Images, Key, Latents, Params


class StyleGAN2(NamedTuple):
    """The two networks of one architecture."""

    mapping: Mapping
    synthesis: Synthesis

    @property
    def layers(self) -> int:
        """Number of per-layer latents."""
        return latent_count(self.synthesis.size)


def networks(
    *,
    size: int,
    channels: Sequence[int],
    latent_dim: int = 512,
    mapping_layers: int = 8,
    classes: int = 0,
    z_dim: int | None = None,
    clamp: float | None = None,
    dtype: DTypeLike = "float32",
) -> StyleGAN2:
    """Networks for images of `size`, a power of two, 16…1024; `channels` from 4×4 up; `classes` of labels.

    `z_dim`: the size of z, where it is not that of w, `latent_dim`.
    """
    if size not in (16, 32, 64, 128, 256, 512, 1024):
        raise ValueError(f"size {size} is not a power of two from 16 to 1024")
    if len(channels) != len(resolutions(size)):
        raise ValueError(
            f"got {len(channels)} channel numbers, but {size}x{size} has resolutions {resolutions(size)}"
        )
    mapping = Mapping(latent_dim, mapping_layers, classes=classes, z_dim=z_dim)
    return StyleGAN2(mapping, Synthesis(size, tuple(channels), clamp, jnp.dtype(dtype)))


def init(nets: StyleGAN2, key: Key) -> Params:
    """Random weights of both networks: {"mapping", "synthesis"}."""
    z, w = jnp.zeros((1, nets.mapping.inputs)), jnp.zeros((1, nets.mapping.latent_dim))
    classes = nets.mapping.classes
    inputs = (z, jnp.zeros((1, classes))) if classes else (z,)
    noise = [jnp.zeros((n, n)) for n in noise_sizes(nets.synthesis.size)]
    return {
        "mapping": nets.mapping.init(rng.stream(key, "mapping"), *inputs)["params"],
        "synthesis": nets.synthesis.init(rng.stream(key, "synthesis"), broadcast(w, nets.layers), noise)[
            "params"
        ],
    }


def fixed_noise(size: int, seed: int) -> tuple[NoiseMap, ...]:
    """The fixed noise maps of `seed`, standard normal, in layer order.

    Drawn with NumPy's legacy RandomState because its stream is frozen for good (NEP 19): attribution years
    later needs the same maps.
    """
    draw = np.random.RandomState(seed)
    return tuple(jnp.asarray(draw.standard_normal((n, n)), jnp.float32) for n in noise_sizes(size))


def fresh_noise(key: Key, size: int, n: int) -> tuple[NoiseMap, ...]:
    """New maps for each of n images: [n, h, w] in layer order."""
    sides = noise_sizes(size)
    return tuple(
        jax.random.normal(rng.stream(key, "noise", i), (n, side, side)) for i, side in enumerate(sides)
    )


def fold(synthesis: Params, axes: Float[np.ndarray, "k d"], offset: Float[np.ndarray, " d"]) -> Params:
    """The weights of a synthesis network that first takes away `axes` and adds `offset`.

    Where latents turn into styles, the map is built into the affine layer: with axes V and offset o,

        style = K ᵀ(w - VᵀV w + o) + c  =  ((I - VᵀV) K)ᵀ w + (c + Kᵀ o)

    so it makes of every w what it would of the mapped one, and is an ordinary network.
    """
    return {name: _folded(name, part, axes, offset) for name, part in synthesis.items()}


def _folded(name: str, part: Any, axes: np.ndarray, offset: np.ndarray) -> Any:
    if name == "affine":
        kernel, bias = (np.asarray(part[leaf], np.float64) for leaf in ("kernel", "bias"))
        moved = bias + offset @ kernel / math.sqrt(len(kernel))  # the equalised learning rate
        return {"kernel": np.float32(kernel - axes.T @ (axes @ kernel)), "bias": np.float32(moved)}
    if isinstance(part, Map):
        return {inner: _folded(inner, value, axes, offset) for inner, value in part.items()}
    return part


@cached_by_fields
def make(**fields: Any) -> Generator:
    """The generator of `networks(**fields)`."""
    nets = networks(**fields)
    size = nets.synthesis.size

    def draw(params: Params, key: Key, n: int) -> Latents:
        return sample(nets.mapping, params["mapping"], key, n)

    def synthesize(params: Params, w: Latents) -> Images:
        return apply(nets.synthesis, params["synthesis"], broadcast(w, nets.layers), params["noise"])

    def renoise(params: Params, key: Key, n: int) -> Params:
        return {**params, "noise": fresh_noise(key, size, n)}

    def built_in(params: Params, axes: np.ndarray, offset: np.ndarray) -> Params:
        return {**params, "synthesis": fold(params["synthesis"], axes, offset)}

    shape = (size, size, 3)
    return Generator(
        "stylegan2", nets.mapping.latent_dim, shape, draw, synthesize, renoise=renoise, fold=built_in
    )
