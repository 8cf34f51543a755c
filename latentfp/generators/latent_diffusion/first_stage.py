"""The first stage: an autoencoder between images [b, h, w, 3] and latent maps [b, h/f, w/f, z].

    encode:  encoder → 1×1 convolution → moments      decode:  (quantise →) 1×1 convolution → decoder

f = 2 ** (number of levels - 1): three levels make the f4 layout, four the f8 of Stable Diffusion. With
`codes` = 0 the latent is a normal distribution (AutoencoderKL): the moments are its mean and log-variance,
and decoding takes any latent. Otherwise it is quantised to the nearest of `codes` vectors (VQ) where it is
decoded, with a straight-through gradient, as in the public latent diffusion models. Large pipelines since
Stable Diffusion 3 leave out the 1×1 convolutions (`outer`).
Source: Rombach et al. 2022 (arXiv 2112.10752), section 3.1; Esser et al. 2021 (arXiv 2012.09841) for VQ.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from latentfp import rng
from latentfp.generators.latent_diffusion.layers import (
    Double,
    FeatureMap,
    Features,
    Halve,
    Norm,
    ResidualBlock,
    SelfAttention,
)
from latentfp.types import Images, Key, Params, Scalar

LatentMaps = Float[Array, "b i j z"]

EPSILON = 1e-6
LOG_VARIANCES = (-30.0, 20.0)  # to which log-variances are limited

LARGE = 2**20  # numbers in an image's features from which gradients compute a block again, not keep it

Block = TypeVar("Block", bound=nn.Module)


class Middle(nn.Module):
    """Residual block, attention, residual block at the lowest resolution."""

    groups: int

    @nn.compact
    def __call__(self, x: Features) -> Features:
        """[b, h, w, c] to the same shape."""
        block = partial(ResidualBlock, x.shape[-1], self.groups, EPSILON)
        x = block(name="block0")(x)
        x = SelfAttention(1, self.groups, EPSILON, name="attention")(x)
        return block(name="block1")(x)


class Encoder(nn.Module):
    """Images down through the levels; `channels` from the highest resolution to the lowest."""

    channels: Sequence[int]
    blocks: int
    features: int
    groups: int

    @nn.compact
    def __call__(self, images: Images) -> FeatureMap:
        """[b, h, w, 3] to [b, h/f, w/f, features]."""
        x = nn.Conv(self.channels[0], (3, 3), name="conv_in")(images)
        for level, width in enumerate(self.channels):
            for i in range(self.blocks):
                x = ResidualBlock(width, self.groups, EPSILON, name=f"level{level}_block{i}")(x)
            if level < len(self.channels) - 1:
                x = Halve((0, 1), name=f"level{level}_halve")(x)
        x = Middle(self.groups, name="middle")(x)
        x = nn.silu(Norm(self.groups, EPSILON, name="norm_out")(x))
        return nn.Conv(self.features, (3, 3), name="conv_out")(x)


class Decoder(nn.Module):
    """Latents up through the levels, with one block a level more than the encoder."""

    channels: Sequence[int]
    blocks: int
    groups: int

    @nn.compact
    def __call__(self, z: LatentMaps) -> Images:
        """[b, h/f, w/f, z] to [b, h, w, 3]."""
        x = nn.Conv(self.channels[-1], (3, 3), name="conv_in")(z)
        x = _lean(Middle, x)(self.groups, name="middle")(x)
        for level, width in reversed(list(enumerate(self.channels))):
            for i in range(self.blocks + 1):
                block = _lean(ResidualBlock, x)
                x = block(width, self.groups, EPSILON, name=f"level{level}_block{i}")(x)
            if level > 0:
                x = Double(name=f"level{level}_double")(x)
        x = nn.silu(Norm(self.groups, EPSILON, name="norm_out")(x))
        return nn.Conv(3, (3, 3), name="conv_out")(x)


def _lean(block: type[Block], x: Features) -> type[Block]:
    """The block; where features are large, one of which gradients keep only the input."""
    return nn.remat(block) if x[0].size > LARGE else block  # type: ignore[return-value]


class FirstStage(nn.Module):
    """Both directions. `latent` channels z; `codes` of them in the code book, or 0 for a normal latent;
    `outer`: whether there are 1×1 convolutions between the networks and the latent."""

    channels: Sequence[int]
    blocks: int
    latent: int
    codes: int = 0
    groups: int = 32
    outer: bool = True

    def setup(self) -> None:
        """The parts."""
        moments = self.latent if self.codes else 2 * self.latent
        self.encoder = Encoder(self.channels, self.blocks, moments, self.groups)
        self.decoder = Decoder(self.channels, self.blocks, self.groups)
        self.before = nn.Conv(moments, (1, 1)) if self.outer else _as_it_is
        self.after = nn.Conv(self.latent, (1, 1)) if self.outer else _as_it_is
        if self.codes:
            self.codebook = self.param("codebook", self._near, (self.codes, self.latent))

    @property
    def factor(self) -> int:
        """How many pixels a side one place of the latent stands for."""
        return 2 ** (len(self.channels) - 1)

    def _near(self, key: Key, shape: tuple[int, int]) -> Float[Array, "n z"]:
        """Codes that all lie near the origin, so that none is left unused."""
        return jax.random.uniform(key, shape, minval=-1 / self.codes, maxval=1 / self.codes)

    def moments(self, images: Images) -> FeatureMap:
        """Mean and log-variance side by side [b, i, j, 2z], or with a code book the latent [b, i, j, z]."""
        return self.before(self.encoder(images))

    def decode(self, z: LatentMaps, *, quantised: bool = True) -> Images:
        """The images of latents; with a code book of their nearest codes, unless `quantised` is false."""
        if self.codes and quantised:
            z = quantise(z, self.codebook)
        return self.decoder(self.after(z))

    def __call__(self, images: Images) -> Images:
        """Images to their reconstructions; passes through every parameter."""
        return self.decode(self.moments(images)[..., : self.latent])


def _as_it_is(x: FeatureMap) -> FeatureMap:
    return x


class Posterior(NamedTuple):
    """A normal latent: mean and log-variance [b, i, j, z]."""

    mean: LatentMaps
    log_variance: LatentMaps


def posterior(moments: FeatureMap) -> Posterior:
    """The normal distribution of these moments [b, i, j, 2z]; log-variances are limited to -30 … 20."""
    mean, log_variance = jnp.split(moments, 2, axis=-1)
    return Posterior(mean, jnp.clip(log_variance, *LOG_VARIANCES))


def draw(found: Posterior, noise: LatentMaps) -> LatentMaps:
    """A latent of the posterior, from standard normal `noise` of its shape."""
    return found.mean + jnp.exp(found.log_variance / 2) * noise


def divergence(found: Posterior) -> Float[Array, " b"]:
    """The Kullback–Leibler divergence from N(0, I) of every image, in nats."""
    mean, log_variance = found
    each = jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance
    return 0.5 * jnp.sum(each, axis=(1, 2, 3))


def nearest(z: LatentMaps, codebook: Float[Array, "n z"]) -> Int[Array, "b i j"]:
    """The numbers of the nearest codes."""
    lengths = jnp.sum(jnp.square(codebook), axis=1)
    return jnp.argmin(lengths[None, None, None] - 2 * (z @ codebook.T), axis=-1)


def quantise(z: LatentMaps, codebook: Float[Array, "n z"]) -> LatentMaps:
    """The nearest codes; the gradient with respect to `z` is as if nothing were quantised."""
    codes = codebook[nearest(z, codebook)]
    return z + jax.lax.stop_gradient(codes - z)


def codebook_loss(z: LatentMaps, codebook: Float[Array, "n z"], *, commitment: float = 0.25) -> Scalar:
    """Mean squared distance to the nearest codes: moves them, and with weight `commitment` the latents."""
    codes = codebook[nearest(z, codebook)]
    to_codes = jnp.mean(jnp.square(jax.lax.stop_gradient(codes) - z))
    return commitment * to_codes + jnp.mean(jnp.square(codes - jax.lax.stop_gradient(z)))


def init(network: nn.Module, key: Key, size: int) -> Params:
    """Random weights, for images of `size` pixels a side."""
    return network.init(rng.stream(key, "first_stage"), jnp.zeros((1, size, size, 3)))["params"]


class PatchDiscriminator(nn.Module):
    """Logits [b, i, j] of images [b, h, w, 3], positive for real ones; each of `channels` halves the size.

    Source: Isola et al. 2017 (arXiv 1611.07004), section 3.2, as in Esser et al. 2021, with normalisation by
    groups, which needs no running statistics.
    """

    channels: Sequence[int]
    groups: int = 8

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "b i j"]:
        """Convolutions of 4×4 pixels at every second one, then one more and the logits."""
        x = images
        for i, width in enumerate(self.channels):
            x = nn.Conv(width, (4, 4), strides=2, name=f"conv{i}")(x)
            x = nn.leaky_relu(x if i == 0 else Norm(self.groups, 1e-5, name=f"norm{i}")(x), 0.2)
        x = nn.leaky_relu(nn.Conv(self.channels[-1], (3, 3), name="conv_last")(x), 0.2)
        return nn.Conv(1, (3, 3), name="logits")(x)[..., 0]
