"""The mapping network z → w, and what is done to w: truncation and style mixing.

z ~ N(0, I) is normalised to unit mean square, then passes `layers` dense layers with learning-rate multiplier
0.01. A network with classes reads (z, e) side by side, where e is a linear embedding of the one-hot label, of
unit mean square, too. Per-layer latents ("W+") are [b, layers, d].
Source: Karras et al. 2019 (arXiv 1812.04948), sections 2, 3.1 and appendix B; Karras et al. 2020 (arXiv
2006.06676) for the labels.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from latentfp import rng
from latentfp.generators.stylegan2.layers import EqualDense, apply, leaky
from latentfp.types import Key, Latent, Latents, Params

Inputs = Float[Array, "b z"]
LayerLatents = Float[Array, "b layers d"]
Labels = Float[Array, "b classes"]


def normalize(z: Latents) -> Latents:
    """z / √(mean z² + 1e-8), row by row."""
    return z / jnp.sqrt(jnp.mean(z**2, axis=-1, keepdims=True) + 1e-8)


class Mapping(nn.Module):
    """z [b, z], and labels [b, classes] where there are classes, to w [b, d]."""

    latent_dim: int = 512
    layers: int = 8
    lr_multiplier: float = 0.01
    classes: int = 0
    z_dim: int | None = None

    @property
    def inputs(self) -> int:
        """The size of z: that of w, unless `z_dim` says another."""
        return self.z_dim or self.latent_dim

    @nn.compact
    def __call__(self, z: Inputs, labels: Labels | None = None) -> Latents:
        """Normalise, then `layers` times dense and leaky ReLU. Labels only where there are classes."""
        x = normalize(z)
        if labels is not None:
            embedded = EqualDense(self.latent_dim, name="embed")(labels)
            x = jnp.concatenate([x, normalize(embedded)], axis=-1)
        for i in range(self.layers):
            x = leaky(EqualDense(self.latent_dim, lr_multiplier=self.lr_multiplier, name=f"fc{i}")(x))
        return x


def sample(mapping: Mapping, params: Params, key: Key, n: int) -> Latents:
    """w [n, d] of normal z, and of a class for each that is drawn evenly where there are classes."""
    z = jax.random.normal(key, (n, mapping.inputs))
    if not mapping.classes:
        return apply(mapping, params, z)
    drawn = jax.random.randint(rng.stream(key, "class"), (n,), 0, mapping.classes)
    return apply(mapping, params, z, jax.nn.one_hot(drawn, mapping.classes))


def broadcast(w: Latents, layers: int) -> LayerLatents:
    """The same w for every layer."""
    return jnp.broadcast_to(w[:, None], (w.shape[0], layers, w.shape[1]))


def truncate(ws: LayerLatents, average: Latent, *, psi: float, cutoff: int | None = None) -> LayerLatents:
    """Pull the first `cutoff` layers (all if None) towards the average: average + psi (w - average)."""
    center = average[None, None]
    pulled = center + psi * (ws - center)
    inside = jnp.arange(ws.shape[1]) < (ws.shape[1] if cutoff is None else cutoff)
    return jnp.where(inside[None, :, None], pulled, ws)


def mix(coarse: LayerLatents, fine: LayerLatents, crossover: Int[Array, " b"]) -> LayerLatents:
    """Style mixing: layers below `crossover` (one number an image) from `coarse`, the others from `fine`."""
    below = jnp.arange(coarse.shape[1])[None] < crossover[:, None]
    return jnp.where(below[..., None], coarse, fine)
