"""The networks of StyleGAN2: mapping z → w, synthesis (w, noise maps) → image, and the discriminator.

Mapping: z ~ N(0, I) is normalised to unit mean square, then passes `layers` dense layers with learning-rate
multiplier 0.01. A network with classes reads (z, e) side by side, where e is a linear embedding of the
one-hot label, of unit mean square, too. Per-layer latents ("W+") are [b, layers, d].

Synthesis is a skip generator of modulated convolutions. Layer order, which is also the order of the noise
maps: conv1 at 4×4, then conv0 (doubling) and conv1 at 8×8, 16×16, … Per-layer latents are used as in both
public implementations: conv0 of a resolution and to_rgb of the one below share a latent.

Source: Karras et al. 2019 (arXiv 1812.04948), sections 2, 3.1 and appendix B; Karras et al. 2020 (arXiv
1912.04958), figures 2 and 7 and appendix B; Karras et al. 2020 (arXiv 2006.06676) for the labels.
"""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from latentfp import rng
from latentfp.generators.stylegan2 import ops
from latentfp.generators.stylegan2.layers import EqualConv, EqualDense, ModulatedConv, apply, leaky
from latentfp.types import Images, Key, Latents, Params

Inputs = Float[Array, "b z"]
LayerLatents = Float[Array, "b layers d"]
Labels = Float[Array, "b classes"]
NoiseMap = Float[Array, "... _ _"]  # square; [h w] for all images, or [b h w]


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


def mix(coarse: LayerLatents, fine: LayerLatents, crossover: Int[Array, " b"]) -> LayerLatents:
    """Style mixing: layers below `crossover` (one number an image) from `coarse`, the others from `fine`."""
    below = jnp.arange(coarse.shape[1])[None] < crossover[:, None]
    return jnp.where(below[..., None], coarse, fine)


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
