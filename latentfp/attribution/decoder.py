"""The learned inverse: a network that reads content, code and damage from an image, in a few iterations.

A reading starts with undecided bits at the content that the generator's own encoder reads, or at the mean of
the prior where there is no encoder. An iteration renders it, through the damage that it states, and the
network improves the reading by what is still different:

    reading ← reading + network(x, x - D(g(w)), reading),    D: the smooth part of augment/damage.py

The same weights serve every iteration, which costs one pass of the generator and one of the network. Logits
are log-likelihood ratios, trained by cross-entropy on the generator's own samples with fair random codes, so
no user's code is in the weights.
Source: docs/concepts.md; feedback of the residual as in Alaluf et al. 2021 (arXiv 2104.02699).
"""

from functools import partial
from typing import NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from latentfp.attribution.encoder import coordinates
from latentfp.attribution.observation import ROUNDING
from latentfp.attribution.whitening import Thetas, Whitened, latents
from latentfp.augment import damage
from latentfp.generators.generator import Generator
from latentfp.types import Images, Params

FARTHEST = 4.0  # standard deviations of the prior at which the content that an encoder reads is cut off
GAIN = 8.0  # of residuals, whose standard deviation is about 0.1 and less
GRID = 16  # cells a side into which patches of pixels are gathered


class Reading(NamedTuple):
    """What is read from each image of a batch."""

    content: Float[Array, "b r"]  # alpha in standard deviations of the prior
    logits: Float[Array, "b k"]  # log-likelihood ratio of each bit, positive for a set one
    damage: Float[Array, "b m"]  # in the coordinates of augment/damage.py


class Decoder(nn.Module):
    """One iteration: patches, a residual block of convolutions, a residual perceptron.

    `channels` of the convolutions on the 16×16 grid, `squeeze` channels of the 8×8 grid, `width` and `blocks`
    of the perceptron.
    """

    content: int
    bits: int
    channels: int = 64
    squeeze: int = 48
    width: int = 640
    blocks: int = 2

    @nn.compact
    def __call__(self, images: Images, residual: Images, reading: Reading) -> Reading:
        """The reading after this iteration; images [b h w 3] with sides that 16 divides."""
        known = jnp.concatenate([reading.content, jnp.tanh(reading.logits / 2), reading.damage], axis=1)
        seen = jnp.concatenate([images, jnp.clip(GAIN * residual, -4, 4)], axis=-1)
        x = nn.Conv(self.channels, (3, 3), name="patches")(gathered(seen, images.shape[1] // GRID))
        y = nn.Conv(self.channels, (3, 3), name="conv0")(nn.gelu(x))
        x = x + nn.Conv(self.channels, (3, 3), name="conv1")(nn.gelu(y))
        x = nn.Dense(self.squeeze, name="squeeze")(nn.gelu(gathered(x, 2)))
        x = nn.Dense(self.width, name="seen")(nn.gelu(x).reshape(x.shape[0], -1))
        x = x + nn.Dense(self.width, use_bias=False, name="known")(known)
        for i in range(self.blocks):
            y = nn.Dense(self.width, name=f"block{i}_in")(nn.LayerNorm(name=f"block{i}_norm")(x))
            x = x + nn.Dense(self.width, name=f"block{i}_out")(nn.gelu(y))
        move = nn.Dense(known.shape[1], name="move")(nn.LayerNorm(name="norm")(x))
        content, logits, distortion = jnp.split(move, [self.content, self.content + self.bits], axis=1)
        return Reading(reading.content + content, reading.logits + logits, reading.damage + distortion)


class TrainedDecoder(NamedTuple):
    """A decoder with its weights, how many iterations it was trained for, and the hash of its weights."""

    decoder: Decoder
    weights: Params
    iterations: int
    sha256: str


def gathered(x: Float[Array, "b h w c"], side: int) -> Float[Array, "b i j q"]:
    """Patches of `side` × `side` pixels as channels."""
    b, h, w, c = x.shape
    cells = x.reshape(b, h // side, side, w // side, side, c).transpose(0, 1, 3, 2, 4, 5)
    return cells.reshape(b, h // side, w // side, side * side * c)


def blank(images: int, *, content: int, bits: int) -> Reading:
    """A reading that knows nothing: the mean of the prior, undecided bits, no damage."""
    return Reading(jnp.zeros((images, content)), jnp.zeros((images, bits)), jnp.zeros((images, damage.SIZE)))


def begin(
    decoder: Decoder, generator: Generator, params: Params, space: Whitened, images: Images
) -> tuple[Reading, Images]:
    """The reading before the first iteration, and what it renders."""
    start = blank(images.shape[0], content=decoder.content, bits=decoder.bits)
    known = decoder.content + decoder.bits
    if generator.encode is None:
        mean = rendered(generator, params, space, jax.tree.map(lambda leaf: leaf[:1], start))
        return start, jnp.broadcast_to(mean, images.shape)
    content = coordinates(space, generator.encode(params, images))[:, -known : -decoder.bits]
    start = start._replace(content=jnp.clip(content, -FARTHEST, FARTHEST))
    return start, rendered(generator, params, space, start)


def thetas(reading: Reading) -> Thetas:
    """A reading as whitened coordinates; a bit stands at the mean of its two levels -1 and 1."""
    return jnp.concatenate([reading.content, jnp.tanh(reading.logits / 2)], axis=1)


def rendered(generator: Generator, params: Params, space: Whitened, reading: Reading) -> Images:
    """The images that the readings describe, with their damage but without noise and JPEG."""
    images = generator.synthesize(params, latents(space, thetas(reading)))
    return jax.vmap(lambda image, distortion: damage.distort(image, damage.from_coordinates(distortion)))(
        images, reading.damage
    )


def iterate(
    decoder: Decoder,
    weights: Params,
    generator: Generator,
    params: Params,
    space: Whitened,
    images: Images,
    *,
    count: int,
) -> list[tuple[Reading, Images]]:
    """After each of `count` iterations the reading, and the difference that it started from.

    Gradients reach each iteration's own weights only.
    """
    reading, seen = begin(decoder, generator, params, space, images)
    found = []
    for i in range(count):
        if i > 0:
            reading = jax.lax.stop_gradient(reading)
            seen = rendered(generator, params, space, reading)
        residual = images - jax.lax.stop_gradient(seen)
        reading = iteration(decoder, weights, images, residual, reading)
        found.append((reading, residual))
    return found


@partial(jax.jit, static_argnames="decoder")
def iteration(
    decoder: Decoder, weights: Params, images: Images, residual: Images, reading: Reading
) -> Reading:
    """One iteration of the network."""
    return cast(Reading, decoder.apply({"params": weights}, images, residual, reading))


@partial(jax.jit, static_argnames=("decoder", "generator", "count"))
def read(
    decoder: Decoder,
    weights: Params,
    generator: Generator,
    params: Params,
    space: Whitened,
    images: Images,
    *,
    count: int,
) -> tuple[Reading, Float[Array, " b"]]:
    """The reading of images [b h w 3] of [-1, 1] after `count` iterations, and the residual of the last one.

    The residual is the root mean square of the difference, in units of the rounding to 8 bits.
    """
    reading, residual = iterate(decoder, weights, generator, params, space, images, count=count)[-1]
    return reading, jnp.sqrt(jnp.mean(jnp.square(residual), axis=(1, 2, 3))) / ROUNDING
