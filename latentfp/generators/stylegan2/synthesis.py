"""The synthesis network (w, noise maps) → image: a skip generator of modulated convolutions.

Layer order, which is also the order of the noise maps: conv1 at 4×4, then conv0 (doubling) and conv1 at 8×8,
16×16, … Per-layer latents are used as in both public implementations: conv0 of a resolution and to_rgb of the
one below share a latent. Source: Karras et al. 2020 (arXiv 1912.04958), figures 2 and 7.
"""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from latentfp.generators.stylegan2 import ops
from latentfp.generators.stylegan2.layers import ModulatedConv, leaky
from latentfp.generators.stylegan2.mapping import LayerLatents
from latentfp.types import Images, Latents

NoiseMap = Float[Array, "... _ _"]  # square; [h w] for all images, or [b h w]


def resolutions(size: int) -> list[int]:
    """4, 8, …, size."""
    return [2**i for i in range(2, round(math.log2(size)) + 1)]


def noise_sizes(size: int) -> list[int]:
    """The side of every noise map, in layer order: 4, 8, 8, 16, 16, …, size, size."""
    return [4] + [r for r in resolutions(size)[1:] for _ in range(2)]


def latent_count(size: int) -> int:
    """How many per-layer latents a generator of `size` takes: one a convolution, one for the last to_rgb."""
    return len(noise_sizes(size)) + 1


class StyledConv(nn.Module):
    """Modulated convolution, noise times a learned strength, bias, leaky ReLU."""

    features: int
    conv: Callable[..., Array] = ops.conv
    clamp: float | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: ops.Features, w: Latents, noise: NoiseMap) -> ops.FeatureMap:
        """`noise` [h, w] is one map for all images, [b, h, w] one for each."""
        kernel = ModulatedConv(self.features, 3, conv=self.conv, dtype=self.dtype, name="conv")
        strength = self.param("noise_strength", nn.initializers.zeros, ())
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        noise = jnp.broadcast_to(noise, (noise.shape[0] if noise.ndim == 3 else 1, *noise.shape[-2:]))
        y = kernel(x, w) + (strength * noise[..., None]).astype(self.dtype)
        return leaky(y + bias.astype(self.dtype)[None, None, None], self.clamp)


class ToRGB(nn.Module):
    """1×1 modulated convolution to three channels, without demodulation; float32 out."""

    clamp: float | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: ops.Features, w: Latents) -> Images:
        """Adds a bias and clamps."""
        y = ModulatedConv(3, 1, demodulate=False, dtype=self.dtype, name="conv")(x, w)
        y = y.astype(jnp.float32) + self.param("bias", nn.initializers.zeros, (3,))[None, None, None]
        return y if self.clamp is None else jnp.clip(y, -self.clamp, self.clamp)


class Synthesis(nn.Module):
    """Images [b, size, size, 3] from per-layer latents [b, latent_count(size), d].

    `channels` gives the features of every resolution from 4×4 up; `clamp` bounds activations (conv_clamp in
    NVIDIA's code).
    """

    size: int
    channels: Sequence[int]
    clamp: float | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, ws: LayerLatents, noise: Sequence[NoiseMap]) -> Images:
        """`noise`: maps with the sides of `noise_sizes(size)`."""
        const = self.param("const", nn.initializers.normal(1.0), (4, 4, self.channels[0]))
        x = jnp.broadcast_to(const.astype(self.dtype), (ws.shape[0], *const.shape))
        image, layer = jnp.zeros((ws.shape[0], 2, 2, 3)), 0
        for size, features in zip(resolutions(self.size), self.channels, strict=True):
            convs = ["conv1"] if size == 4 else ["conv0", "conv1"]
            for name in convs:
                how = ops.conv_up if name == "conv0" else ops.conv
                styled = StyledConv(features, how, self.clamp, self.dtype, name=f"b{size}_{name}")
                x = styled(x, ws[:, layer], noise[layer])
                layer += 1
            rgb = ToRGB(self.clamp, self.dtype, name=f"b{size}_to_rgb")(x, ws[:, layer])
            image = rgb if size == 4 else ops.upsample(image) + rgb
        return image
