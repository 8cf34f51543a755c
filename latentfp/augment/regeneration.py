"""Regeneration: the image is made anew by a generative model that was given it.

    autoencoded   decode(encode(x))
    diffused      decode(denoise(noise(encode(x)))): the latent gets the noise of a share of the diffusion's
                  times and is diffused back from there

Source: Zhao et al. 2023, *Invisible Image Watermarks Are Provably Removable Using Generative AI*; the
regeneration attacks of WAVES, which repeats the second up to four times. Theirs go through Stable Diffusion
and learned codecs; `embedded` goes through the shipped latent diffusion, which has seen nothing but cartoon
faces of 32x32 pixels: others come back as such faces, blurred and recoloured.
"""

import functools
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from latentfp.augment.attacks import Apply
from latentfp.generators import pretrained
from latentfp.generators.generator import Generator
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_float, to_pixels
from latentfp.types import Image, Key, Latent, Latents, Params, Pixels

EMBEDDED = "avatars-ldm"
Renewal = Callable[[Generator, Params, Key, Image], Image]


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


def _renewed(renewal: Renewal, generator: Generator, params: Params, key: Key, pixels: Pixels) -> Pixels:
    return to_pixels(renewal(generator, params, key, to_float(pixels)))


def _restored(generator: Generator, params: Params, w: Latents, like: Image) -> Image:
    made = generator.synthesize(params, w)[0]
    return jnp.clip(jax.image.resize(made, like.shape, "linear"), -1, 1)
