"""The residual discriminator with minibatch standard deviation.

Source: Karras et al. 2020 (arXiv 1912.04958), figure 7 and appendix B.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from latentfp.generators.stylegan2 import ops
from latentfp.generators.stylegan2.layers import EqualConv, EqualDense, leaky
from latentfp.generators.stylegan2.synthesis import resolutions
from latentfp.types import Images


def minibatch_deviation(x: ops.Features, group: int = 4) -> ops.FeatureMap:
    """Append one channel: the mean standard deviation within a group of images, the same at every pixel.

    Member g of group n is image g · (b / group) + n; a batch that `group` does not divide is refused.
    """
    b, h, w, c = x.shape
    group = min(group, b)
    if b % group:
        raise ValueError(f"a batch of {b} cannot be split into groups of {group}: use a multiple of {group}")
    grouped = x.reshape(group, b // group, h, w, c).astype(jnp.float32)
    deviation = jnp.sqrt(jnp.var(grouped, axis=0) + 1e-8).mean((1, 2, 3))
    channel = jnp.broadcast_to(jnp.tile(deviation, group)[:, None, None, None], (b, h, w, 1))
    return jnp.concatenate([x, channel.astype(x.dtype)], axis=-1)


class ResidualBlock(nn.Module):
    """Two convolutions and a linear skip, both halving the size; √½ of their sum keeps the variance."""

    features: int
    clamp: float | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: ops.Features) -> ops.FeatureMap:
        """[b, h, w, c] to [b, h/2, w/2, features]."""
        gain = math.sqrt(0.5)
        skip = EqualConv(self.features, 1, ops.conv_down, use_bias=False, dtype=self.dtype, name="skip")(x)
        y = leaky(EqualConv(x.shape[-1], 3, dtype=self.dtype, name="conv0")(x), self.clamp)
        y = leaky(
            EqualConv(self.features, 3, ops.conv_down, dtype=self.dtype, name="conv1")(y), self.clamp, gain
        )
        return skip * gain + y


class Discriminator(nn.Module):
    """Logits [b] of images [b, size, size, 3]; positive means real. `channels` from 4×4 up."""

    size: int
    channels: Sequence[int]
    group: int = 4
    clamp: float | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, " b"]:
        """From the image down to 4×4, then two dense layers."""
        x = leaky(EqualConv(self.channels[-1], 1, dtype=self.dtype, name="from_rgb")(images), self.clamp)
        for size, features in list(zip(resolutions(self.size), (0, *self.channels), strict=False))[:0:-1]:
            x = ResidualBlock(features, self.clamp, self.dtype, name=f"b{size}")(x)
        x = minibatch_deviation(x, self.group)
        x = leaky(EqualConv(self.channels[0], 3, dtype=self.dtype, name="b4_conv")(x), self.clamp)
        x = leaky(EqualDense(self.channels[0], name="b4_fc")(x.reshape(x.shape[0], -1).astype(jnp.float32)))
        return EqualDense(1, name="b4_out")(x)[:, 0]
