"""A generator's own encoder as a decoder of codes that nobody had to train.

The first stage of a latent diffusion comes with an encoder w ≈ E(g(w)). Along the axis of a bit of level
±1 it reads

    t = c + a · level + noise,  noise ~ N(0, v);    log-likelihood ratio of the bit: 2 a (t - c) / v

c, a and v of every axis are measured on undamaged samples of the prior with fair random codes, as files keep
them. On damaged files the ratios are too sure; the residual of the image that the reading renders tells.
Source: docs/concepts.md.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from latentfp import rng
from latentfp.attribution.observation import ROUNDING
from latentfp.attribution.whitening import Thetas, Whitened, latents
from latentfp.generators.generator import Generator
from latentfp.pixels import round_to_8bit
from latentfp.runtime.progress import track
from latentfp.types import Images, Key, Latents, Params

# On how many samples an encoder is calibrated, at least and at most, by their pixels, and how many at once.
SAMPLES, PIXELS = (64, 512), 2**22
BATCH, PIXELS_AT_ONCE = 32, 2**17
LEAST_VARIANCE = 1e-6  # of a coordinate in units of half the distance of two levels


class Calibration(NamedTuple):
    """Of every code axis: what is read of level 0, the slope, and the variance of the noise."""

    centre: Float[Array, " k"]
    slope: Float[Array, " k"]
    variance: Float[Array, " k"]


class Encoded(NamedTuple):
    """Of every image: whitened coordinates, log-likelihood ratios of bits, and the residual.

    The residual is the root mean square of what the rendered latent lacks, in units of rounding to 8 bits.
    """

    thetas: Thetas
    logits: Float[Array, "b k"]
    residuals: Float[Array, " b"]


def coordinates(space: Whitened, w: Latents) -> Thetas:
    """The whitened coordinates of latents; the rows of `space` are orthogonal."""
    lengths, away = jnp.sum(jnp.square(space.rows), axis=1), w - space.origin[None]
    along = away @ space.rows.T / lengths[None]
    if not space.rest.shape[0]:
        return along
    return jnp.concatenate([(away - along @ space.rows) / space.rest[None], along], axis=1)


def calibrate(generator: Generator, params: Params, space: Whitened, key: Key, *, bits: int) -> Calibration:
    """Least squares of what is read on what was written; ValueError for a generator without an encoder."""
    height, width, _ = generator.image_shape
    samples = min(SAMPLES[1], max(SAMPLES[0], PIXELS // (height * width)))
    batch = min(BATCH, max(1, PIXELS_AT_ONCE // (height * width)))
    draw = partial(_samples, generator, params, space, n=batch, bits=bits)
    numbers = track(range(samples // batch), "what the generator's encoder reads")
    parts = [draw(rng.stream(key, "calibration", number)) for number in numbers]
    read, level = (jnp.concatenate(some) for some in zip(*parts, strict=True))
    centre, middle = jnp.mean(read, axis=0), jnp.mean(level, axis=0)
    spread = jnp.mean(jnp.square(level - middle[None]), axis=0)
    slope = jnp.mean((read - centre[None]) * (level - middle[None]), axis=0) / spread
    rest = read - centre[None] - slope[None] * (level - middle[None])
    variance = jnp.sum(jnp.square(rest), axis=0) / (len(read) - 2)
    return Calibration(centre - slope * middle, slope, jnp.maximum(variance, LEAST_VARIANCE))


@partial(jax.jit, static_argnames=("generator", "n", "bits"))
def _samples(
    generator: Generator, params: Params, space: Whitened, key: Key, *, n: int, bits: int
) -> tuple[Float[Array, "n k"], Float[Array, "n k"]]:
    """What is read of each bit of n images, and the level that was written."""
    theta = jax.random.normal(rng.stream(key, "content"), (n, space.size))
    level = jax.random.rademacher(rng.stream(key, "code"), (n, bits), theta.dtype)
    theta = theta.at[:, -bits:].set(level)
    images = round_to_8bit(generator.synthesize(params, latents(space, theta)))
    return coordinates(space, _encode(generator, params, images))[:, -bits:], level


def _encode(generator: Generator, params: Params, images: Images) -> Latents:
    if generator.encode is None:
        raise ValueError(f"a {generator.name} has no encoder: use another method")
    return generator.encode(params, images)


@partial(jax.jit, static_argnames="generator")
def read(
    generator: Generator, params: Params, space: Whitened, calibration: Calibration, images: Images
) -> Encoded:
    """What the encoder reads of images [b h w 3] in [-1, 1]; one pass of it and one of the generator."""
    w, bits = _encode(generator, params, images), calibration.slope.shape[0]
    theta = coordinates(space, w)
    away = theta[:, -bits:] - calibration.centre[None]
    logits = 2 * away * (calibration.slope / calibration.variance)[None]
    seen = jnp.clip(generator.synthesize(params, w), -1, 1)
    residuals = jnp.sqrt(jnp.mean(jnp.square(seen - images), axis=(1, 2, 3))) / ROUNDING
    return Encoded(theta, logits, residuals)
