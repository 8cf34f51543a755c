"""The denoiser: a UNet that tells the noise in a latent map at a time.

`channels` of the levels from the highest resolution down; `attention` names the levels (0 first) that have
self-attention after each residual block, with heads of `head` channels. Every output on the way down is kept
and joined on the way up, which therefore has one block a level more.
Source: Rombach et al. 2022 (arXiv 2112.10752), appendix E; Ho et al. 2020 (arXiv 2006.11239), appendix B.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from latentfp.generators.latent_diffusion.layers import (
    Double,
    Embedding,
    FeatureMap,
    Features,
    Halve,
    Norm,
    ResidualBlock,
    SelfAttention,
)

EPSILON = 1e-5
LONGEST = 10_000.0  # ratio of the lowest to the highest frequency of a time
Times = Float[Array, " b"]


def sinusoids(times: Times, size: int) -> Embedding:
    """[cos | sin] of the times at size/2 frequencies that fall geometrically from 1 to almost 1/10 000."""
    half = size // 2
    frequencies = jnp.exp(-math.log(LONGEST) * jnp.arange(half) / half)
    angles = times[:, None] * frequencies[None]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=1)


class TimeEmbedding(nn.Module):
    """A perceptron on sinusoids of `size` numbers; returns 4 · size."""

    size: int

    @nn.compact
    def __call__(self, times: Times) -> Embedding:
        """[b] to [b, 4 · size]."""
        x = nn.Dense(4 * self.size, name="fc0")(sinusoids(times, self.size))
        return nn.Dense(4 * self.size, name="fc1")(nn.silu(x))


class UNet(nn.Module):
    """Noise [b, i, j, z] of noisy latents [b, i, j, z] at times [b] of 0 … 999."""

    channels: Sequence[int]
    blocks: int
    latent: int
    attention: Sequence[int] = ()
    head: int = 32
    groups: int = 32

    @nn.compact
    def __call__(self, z: Features, times: Times) -> FeatureMap:
        """The sides of `z` are multiples of 2 ** (levels - 1)."""
        time = TimeEmbedding(self.channels[0], name="time")(times)
        x = nn.Conv(self.channels[0], (3, 3), name="conv_in")(z)
        kept = [x]
        for level, width in enumerate(self.channels):
            for i in range(self.blocks):
                x = self._block(x, time, level, width, f"down{level}", i)
                kept.append(x)
            if level < len(self.channels) - 1:
                x = Halve((1, 1), name=f"down{level}_halve")(x)
                kept.append(x)
        x = ResidualBlock(x.shape[-1], self.groups, EPSILON, name="middle_block0")(x, time)
        x = self._attend(x, "middle_attention")
        x = ResidualBlock(x.shape[-1], self.groups, EPSILON, name="middle_block1")(x, time)
        for level, width in reversed(list(enumerate(self.channels))):
            for i in range(self.blocks + 1):
                x = jnp.concatenate([x, kept.pop()], axis=-1)
                x = self._block(x, time, level, width, f"up{level}", i)
            if level > 0:
                x = Double(name=f"up{level}_double")(x)
        x = nn.silu(Norm(self.groups, EPSILON, name="norm_out")(x))
        return nn.Conv(self.latent, (3, 3), kernel_init=nn.initializers.zeros, name="conv_out")(x)

    def _block(
        self, x: Features, time: Embedding, level: int, width: int, stage: str, number: int
    ) -> FeatureMap:
        x = ResidualBlock(width, self.groups, EPSILON, name=f"{stage}_block{number}")(x, time)
        return self._attend(x, f"{stage}_attention{number}") if level in self.attention else x

    def _attend(self, x: Features, name: str) -> Features:
        if x.shape[-1] % self.head:
            raise ValueError(f"{x.shape[-1]} channels are not heads of {self.head} each: change one of them")
        return SelfAttention(x.shape[-1] // self.head, self.groups, EPSILON, name=name)(x)
