"""Photographs as what an autoencoder draws: having no prior of its own, it is given crops of pictures."""

import hashlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from latentfp.data import pictures
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_float
from latentfp.runtime.progress import track
from latentfp.types import Key, Latents, Params

CROPS = 256


def with_content(loaded: Pretrained, folder: Path, *, seed: int) -> Pretrained:
    """The generator, whose samples are latents of CROPS random crops of the images below a folder.

    Those of another folder or seed make it another generator, by its identity. ValueError for a generator
    without an encoder, and where there is no image as large as its own.
    """
    generator, size = loaded.generator, loaded.generator.image_shape[0]
    if generator.encode is None:
        raise ValueError(f"a {loaded.name} has no encoder: it draws its own content")
    crop, encode = pictures.crop_of(str(folder)), jax.jit(generator.encode)
    randoms = [np.random.default_rng([seed, i]) for i in range(CROPS)]
    images = (to_float(crop(random, size)[None]) for random in track(randoms, "encoding photographs"))
    latents = np.concatenate([np.asarray(encode(loaded.params, image)) for image in images])

    def sample(params: Params, key: Key, n: int) -> Latents:
        del params
        return jnp.asarray(latents)[jax.random.choice(key, CROPS, (n,))]

    identity = hashlib.sha256(loaded.identity.encode() + latents.tobytes()).hexdigest()
    return loaded._replace(generator=generator._replace(sample=sample), identity=identity)
