"""Layers that the first stage and the denoiser share.

Feature maps are [b, h, w, c]. Every layer normalises by groups of channels before it convolves. The two
networks differ in the epsilon of the normalisation and in how they halve the size: the first stage pads at
the right and the bottom only, the denoiser on all sides.
Source: Rombach et al. 2022 (arXiv 2112.10752), appendix E; Ho et al. 2020 (arXiv 2006.11239), appendix B.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Features = Float[Array, "b h w c"]
FeatureMap = Float[Array, "b h2 w2 c2"]
Embedding = Float[Array, "b e"]


class Norm(nn.Module):
    """Normalisation over space and each of `groups` groups of channels, then a scale and shift by channel.

    ValueError where `groups` does not divide the channels.
    """

    groups: int
    epsilon: float

    @nn.compact
    def __call__(self, x: Features) -> Features:
        """[b, h, w, c] to the same shape."""
        b, h, w, c = x.shape
        if c % self.groups:
            raise ValueError(f"{c} channels cannot be split into {self.groups} groups: change one of them")
        scale = self.param("scale", nn.initializers.ones, (c,))
        bias = self.param("bias", nn.initializers.zeros, (c,))
        grouped = x.reshape(b, h * w, self.groups, c // self.groups).astype(jnp.float32)
        mean = jnp.mean(grouped, axis=(1, 3), keepdims=True)
        variance = jnp.mean(jnp.square(grouped - mean), axis=(1, 3), keepdims=True)
        white = ((grouped - mean) * jax.lax.rsqrt(variance + self.epsilon)).reshape(x.shape)
        return (white * scale[None, None, None] + bias[None, None, None]).astype(x.dtype)


class ResidualBlock(nn.Module):
    """Two normalised convolutions beside a skip; an embedding of the time is added between them.

    The skip is a 1×1 convolution where the number of channels changes.
    """

    features: int
    groups: int
    epsilon: float

    @nn.compact
    def __call__(self, x: Features, time: Embedding | None = None) -> FeatureMap:
        """[b, h, w, c] to [b, h, w, features]."""
        y = nn.Conv(self.features, (3, 3), name="conv0")(nn.silu(self._norm("norm0")(x)))
        if time is not None:
            y = y + nn.Dense(self.features, name="time")(nn.silu(time))[:, None, None]
        y = nn.Conv(self.features, (3, 3), name="conv1")(nn.silu(self._norm("norm1")(y)))
        skip = x if x.shape[-1] == self.features else nn.Conv(self.features, (1, 1), name="skip")(x)
        return skip + y

    def _norm(self, name: str) -> Norm:
        return Norm(self.groups, self.epsilon, name=name)


class SelfAttention(nn.Module):
    """Every pixel attends to all, by `heads` heads; added to what came in."""

    heads: int
    groups: int
    epsilon: float

    @nn.compact
    def __call__(self, x: Features) -> Features:
        """[b, h, w, c] to the same shape; `heads` divides c."""
        b, h, w, c = x.shape
        if c % self.heads:
            raise ValueError(f"{c} channels cannot be split into {self.heads} heads: change one of them")
        y = Norm(self.groups, self.epsilon, name="norm")(x).reshape(b, h * w, c)
        q, k, v = (nn.Dense(c, name=name)(y).reshape(b, h * w, self.heads, -1) for name in "qkv")
        weights = nn.softmax(jnp.einsum("bihc,bjhc->bhij", q, k) / math.sqrt(c // self.heads), axis=-1)
        seen = jnp.einsum("bhij,bjhc->bihc", weights, v).reshape(b, h * w, c)
        return x + nn.Dense(c, name="out")(seen).reshape(b, h, w, c)


class Halve(nn.Module):
    """A 3×3 convolution at every second pixel, after zero padding of (before, after) on both axes."""

    pad: tuple[int, int]

    @nn.compact
    def __call__(self, x: Features) -> FeatureMap:
        """[b, h, w, c] to [b, h/2, w/2, c]."""
        return nn.Conv(x.shape[-1], (3, 3), strides=2, padding=[self.pad, self.pad], name="conv")(x)


class Double(nn.Module):
    """Each pixel four times, then a 3×3 convolution."""

    @nn.compact
    def __call__(self, x: Features) -> FeatureMap:
        """[b, h, w, c] to [b, 2h, 2w, c]."""
        return nn.Conv(x.shape[-1], (3, 3), name="conv")(jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2))
