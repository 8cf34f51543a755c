"""Regeneration through the shipped latent diffusion, and what it asks of a generator."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp import rng
from latentfp.augment.learned import autoencoded, diffused, embedded, encoded, shipped_model
from latentfp.pixels import to_float, to_pixels


@pytest.fixture(scope="module")
def model():
    return shipped_model()


@pytest.fixture(scope="module")
def face(model):
    """An image of the generator's own."""
    generator, params = model.generator, model.params
    w = jax.jit(generator.sample, static_argnums=2)(params, rng.root(3), 1)
    return w[0], np.asarray(to_pixels(jax.jit(generator.synthesize)(params, w)[0]))


def distance(a, b):
    return np.abs(a.astype(int) - b).mean()


def test_autoencoding_is_decoding_what_was_encoded(model, face, key):
    _, pixels = face
    w = jax.jit(model.generator.encode)(model.params, jnp.asarray(to_float(pixels))[None])
    expected = to_pixels(np.asarray(jax.jit(model.generator.synthesize)(model.params, w)[0]))
    np.testing.assert_allclose(embedded(autoencoded)(key, pixels).astype(int), expected, atol=1)


@pytest.mark.slow
def test_more_noise_takes_an_image_further(face, key):
    _, pixels = face
    near, middle, far = (embedded(partial(diffused, share=share))(key, pixels) for share in (0.06, 0.3, 1.0))
    assert 0 < distance(near, pixels) < distance(middle, pixels) < distance(far, pixels)
    assert distance(near, pixels) < 12
    assert distance(far, pixels) > 25, "nothing is left of the image"


@pytest.mark.slow
def test_the_latent_keeps_as_much_as_its_noise_says(model, key):
    """A latent noised to 0.3 of the times and diffused back is nearer to itself than to another."""
    generator, params = model.generator, model.params
    w = jax.jit(generator.sample, static_argnums=2)(params, rng.root(4), 6)
    back = generator.regenerate(params, key, w, 0.3)
    apart = np.linalg.norm(np.asarray(back)[:, None] - np.asarray(w)[None], axis=-1)
    assert (apart.argmin(axis=1) == np.arange(6)).all()
    with pytest.raises(ValueError, match="share"):
        generator.regenerate(params, key, w, 1e-4)


def test_images_of_other_sizes_keep_theirs(key):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 50, 3), dtype=np.uint8)
    assert embedded(autoencoded)(key, pixels).shape == (20, 50, 3)


def test_a_generator_without_encoder_or_diffusion_is_refused(model, key):
    image = jnp.zeros((32, 32, 3))
    with pytest.raises(ValueError, match="no encoder"):
        encoded(model.generator._replace(encode=None), model.params, image)
    with pytest.raises(ValueError, match="no diffusion"):
        diffused(model.generator._replace(regenerate=None), model.params, key, image, share=0.3)
