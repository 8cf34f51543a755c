"""Collusions against NumPy's, value by value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.augment.collusion import COLLUSIONS, extremes, mean, median, mixed


@pytest.fixture(params=[2, 3, 8])
def images(request):
    return jax.random.uniform(jax.random.key(7), (request.param, 12, 20, 3), minval=-1, maxval=1)


def test_mean_and_median(key, images):
    np.testing.assert_allclose(mean(key, images), np.mean(images, axis=0), atol=1e-6)
    np.testing.assert_allclose(median(key, images), np.median(images, axis=0), atol=1e-6)


def test_every_pixel_is_of_one_of_the_images(key, images):
    made = mixed(key, images)
    own = (images == made[None]).all(axis=-1)
    assert own.any(axis=0).all()
    # 240 pixels from k images: the standard deviation of a share is below 0.033; four of them.
    np.testing.assert_allclose(own.mean(axis=(1, 2)), 1 / len(images), atol=0.13)


def test_every_value_is_an_extreme_one(key, images):
    made = extremes(key, images)
    low, high = made == images.min(axis=0), made == images.max(axis=0)
    assert (low | high).all()
    assert 0.4 < low.mean() < 0.6


@pytest.mark.parametrize("name", COLLUSIONS)
def test_what_all_agree_on_stays(name, key):
    image = jax.random.uniform(jax.random.key(1), (5, 6, 3))
    np.testing.assert_allclose(COLLUSIONS[name](key, jnp.stack(4 * [image])), image, atol=1e-6)
