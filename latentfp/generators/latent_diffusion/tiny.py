"""Tiny autoencoders between images and the latents of large pipelines: TAESD and its kin.

    encode:  3×3 → levels, each after the first begins with a 3×3 at every second pixel → 3×3
    decode:  3 tanh(z / 3) → 3×3 → levels, each but the last ends with doubling and a 3×3 → 3×3

A level is so many blocks of three 3×3 convolutions with a skip; nothing is normalised, and all features have
one width. Where it is `pooled`, the blocks of the lowest resolution first add a branch of 1×1 convolutions.
Images are in [-1, 1] outside and in [0, 1] inside.
Source: github.com/madebyollin/taesd, as described in diffusers' AutoencoderTiny.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from latentfp.generators.latent_diffusion.first_stage import LatentMaps
from latentfp.generators.latent_diffusion.layers import FeatureMap, Features, Norm
from latentfp.types import Images

LIMIT = 3.0  # of a latent's numbers, approached smoothly
POOLED = 4  # groups of the branch, and how many times wider it is
EPSILON = 1e-5


class Block(nn.Module):
    """Three convolutions beside a skip."""

    pooled: bool

    @nn.compact
    def __call__(self, x: Features) -> Features:
        """[b, h, w, c] to the same shape."""
        width = x.shape[-1]
        if self.pooled:
            y = nn.Conv(POOLED * width, (1, 1), use_bias=False, name="pool_in")(x)
            y = nn.relu(Norm(POOLED, EPSILON, name="pool_norm")(y))
            x = x + nn.Conv(width, (1, 1), use_bias=False, name="pool_out")(y)
        y = nn.relu(nn.Conv(width, (3, 3), name="conv0")(x))
        y = nn.relu(nn.Conv(width, (3, 3), name="conv1")(y))
        return nn.relu(x + nn.Conv(width, (3, 3), name="conv2")(y))


class Encoder(nn.Module):
    """Images down through the levels; `blocks` from the highest resolution to the lowest."""

    width: int
    blocks: Sequence[int]
    latent: int
    pooled: bool

    @nn.compact
    def __call__(self, images: Images) -> FeatureMap:
        """[b, h, w, 3] of [-1, 1] to [b, h/f, w/f, latent]."""
        x = nn.Conv(self.width, (3, 3), name="conv_in")((images + 1) / 2)
        last = len(self.blocks) - 1
        for level, count in enumerate(self.blocks):
            if level > 0:
                halve = nn.Conv(
                    self.width, (3, 3), strides=2, padding=1, use_bias=False, name=f"halve{level}"
                )
                x = halve(x)
            for i in range(count):
                x = Block(self.pooled and level == last, name=f"level{level}_block{i}")(x)
        return nn.Conv(self.latent, (3, 3), name="conv_out")(x)


class Decoder(nn.Module):
    """Latents up through the levels; `blocks` from the highest resolution to the lowest."""

    width: int
    blocks: Sequence[int]
    pooled: bool

    @nn.compact
    def __call__(self, z: LatentMaps) -> Images:
        """[b, h/f, w/f, latent] to [b, h, w, 3], nominally in [-1, 1]."""
        x = nn.relu(nn.Conv(self.width, (3, 3), name="conv_in")(LIMIT * jnp.tanh(z / LIMIT)))
        last = len(self.blocks) - 1
        for level, count in reversed(list(enumerate(self.blocks))):
            for i in range(count):
                x = Block(self.pooled and level == last, name=f"level{level}_block{i}")(x)
            if level > 0:
                x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
                x = nn.Conv(self.width, (3, 3), use_bias=False, name=f"double{level}")(x)
        return 2 * nn.Conv(3, (3, 3), name="conv_out")(x) - 1


class TinyAutoencoder(nn.Module):
    """Both directions. `latent` channels; numbers of blocks from the highest resolution to the lowest."""

    width: int
    encoder_blocks: Sequence[int]
    decoder_blocks: Sequence[int]
    latent: int
    pooled: bool = False

    codes = 0  # of a code book: there is none

    def setup(self) -> None:
        """The two networks."""
        self.encoder = Encoder(self.width, self.encoder_blocks, self.latent, self.pooled)
        self.decoder = Decoder(self.width, self.decoder_blocks, self.pooled)

    @property
    def factor(self) -> int:
        """How many pixels a side one place of the latent stands for."""
        return 2 ** (len(self.encoder_blocks) - 1)

    def moments(self, images: Images) -> FeatureMap:
        """The latent [b, i, j, latent]: nothing is said of its variance."""
        return self.encoder(images)

    def decode(self, z: LatentMaps, *, quantised: bool = True) -> Images:
        """The images of latents."""
        del quantised
        return self.decoder(z)

    def __call__(self, images: Images) -> Images:
        """Images to their reconstructions; passes through every parameter."""
        return self.decode(self.moments(images))
