"""Features of many images are those of each one."""

import jax.numpy as jnp
import numpy as np

from latentfp.pixels import to_float
from latentfp.quality.embedding import RANDOM, Embedding, features
from latentfp.quality.features import random_features

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 6, 5, 3), np.uint8)


def test_batches_make_no_difference():
    def corner(params, image):
        return params["gain"] * image[0, 0]

    found = features(Embedding(corner, {"gain": jnp.float32(2)}, batch=3), PIXELS)
    np.testing.assert_array_equal(found, 2 * to_float(PIXELS)[:, 0, 0])


def test_random_features_need_no_parameters():
    expected = [random_features(jnp.asarray(image)) for image in to_float(PIXELS)]
    np.testing.assert_allclose(features(RANDOM, PIXELS), expected, rtol=1e-5, atol=1e-6)
