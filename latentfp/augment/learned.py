"""Attacks through networks: an image made anew by a generative model, or moved against what a network sees.

    autoencoded   decode(encode(x))
    diffused      decode(denoise(noise(encode(x)))): the latent gets the noise of a share of the diffusion's
                  times and is diffused back from there
    ascend        projected gradient ascent in the ball |y - x| ≤ radius of every value, from a random start:
                  y ← clip(x + limit(y + step · sign ∇ gain(y) - x, ± radius), -1, 1),  step = radius / 20

Source of the first two: Zhao et al. 2023, *Invisible Image Watermarks Are Provably Removable Using Generative
AI*; the regeneration attacks of WAVES, which repeats the second up to four times. Theirs go through Stable
Diffusion and learned codecs; `embedded` goes through the shipped latent diffusion, which has seen nothing but
cartoon faces of 32x32 pixels: others come back as such faces, blurred and recoloured. Source of the last:
Madry et al. 2018, *Towards Deep Learning Models Resistant to Adversarial Attacks*; number and size of the
steps, and `away_from`, as in the embedding attacks of WAVES, which move what an encoder sees.
"""

import functools
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latentfp.augment.attacks import Apply
from latentfp.generators import pretrained
from latentfp.generators.generator import Generator
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_float, to_pixels
from latentfp.types import Image, Key, Latent, Latents, Params, Pixels, Scalar

EMBEDDED = "avatars-ldm"
STEPS = 200
Renewal = Callable[[Generator, Params, Key, Image], Image]
Features = Callable[[Image], Float[Array, "..."]]
Gain = Callable[[Image], Scalar]


def autoencoded(generator: Generator, params: Params, key: Key, image: Image) -> Image:
    """Through the generator's own encoder. Images of another size are resized there and back (bilinear)."""
    del key
    return _restored(generator, params, encoded(generator, params, image)[None], image)


def diffused(generator: Generator, params: Params, key: Key, image: Image, *, share: float) -> Image:
    """Through the noise of a `share` in (0, 1] of the diffusion's times, and back."""
    if generator.regenerate is None:
        raise ValueError(f"{generator.name} is no diffusion: it cannot regenerate an image")
    w = encoded(generator, params, image)[None]
    return _restored(generator, params, generator.regenerate(params, key, w, share), image)


def encoded(generator: Generator, params: Params, image: Image) -> Latent:
    """What the generator's encoder makes of an image. ValueError where it has none."""
    if generator.encode is None:
        raise ValueError(f"{generator.name} has no encoder: it cannot regenerate an image")
    return generator.encode(params, jax.image.resize(image, generator.image_shape, "linear")[None])[0]


@functools.cache
def embedded(renewal: Renewal) -> Apply:
    """A renewal through the shipped latent diffusion, which is read when it is first needed."""
    compiled = jax.jit(partial(_renewed, renewal), static_argnums=0)

    def apply(key: Key, pixels: Pixels) -> Pixels:
        model = shipped_model()
        return np.asarray(compiled(model.generator, model.params, key, pixels))

    return apply


@functools.cache
def shipped_model() -> Pretrained:
    """The latent diffusion of the package."""
    return pretrained.load(EMBEDDED)


def ascend(key: Key, image: Image, *, gain: Gain, radius: float | Scalar, steps: int = STEPS) -> Image:
    """The image, moved to increase `gain`. `radius` is in units of [-1, 1]: 2/255 is a grey level."""
    start = image + radius * jax.random.uniform(key, image.shape, minval=-1, maxval=1)

    def step(_: Array, moved: Image) -> Image:
        raised = moved + radius / 20 * jnp.sign(jax.grad(gain)(moved))
        return jnp.clip(image + jnp.clip(raised - image, -radius, radius), -1, 1)

    return jax.lax.fori_loop(0, steps, step, jnp.clip(start, -1, 1))


def away_from(features: Features, image: Image) -> Gain:
    """The mean squared change of the features of `image`."""
    there = jax.lax.stop_gradient(features(image))
    return lambda moved: jnp.mean(jnp.square(features(moved) - there))


def _renewed(renewal: Renewal, generator: Generator, params: Params, key: Key, pixels: Pixels) -> Pixels:
    return to_pixels(renewal(generator, params, key, to_float(pixels)))


def _restored(generator: Generator, params: Params, w: Latents, like: Image) -> Image:
    made = generator.synthesize(params, w)[0]
    return jnp.clip(jax.image.resize(made, like.shape, "linear"), -1, 1)
