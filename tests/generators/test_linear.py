import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp import rng
from latentfp.generators import linear

DIM, SIZE, GAIN = 24, 8, 0.5
# A dot product of 24 terms of order one in float32.
ROUNDING = 5e-6


@pytest.fixture
def generator():
    return linear.make(latent_dim=DIM, size=SIZE, gain=GAIN)


@pytest.fixture
def params(key):
    return linear.init(key, latent_dim=DIM, size=SIZE)


@pytest.fixture
def w(generator, params, key):
    return generator.sample(params, rng.stream(key, "sample"), 5)


def test_images_are_a_linear_map_of_latents(generator, params, w):
    matrix, offset, latents = (np.asarray(x, np.float64) for x in (params["matrix"], params["offset"], w))
    expected = (GAIN * latents @ matrix.T + offset).reshape(5, SIZE, SIZE, 3)
    images = generator.synthesize(params, w)
    assert images.shape[1:] == generator.image_shape
    np.testing.assert_allclose(images, expected, atol=ROUNDING)


def test_the_columns_are_orthonormal(params):
    matrix = np.asarray(params["matrix"], np.float64)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(DIM), atol=ROUNDING)


def test_distances_between_images_are_gain_times_those_between_latents(generator, params, w):
    images = generator.synthesize(params, w).reshape(5, -1)
    np.testing.assert_allclose(
        jnp.linalg.norm(images[1:] - images[:1], axis=1),
        GAIN * jnp.linalg.norm(w[1:] - w[:1], axis=1),
        rtol=1e-5,
    )


def test_encode_inverts_synthesize(generator, params, w):
    np.testing.assert_allclose(generator.encode(params, generator.synthesize(params, w)), w, atol=ROUNDING)


def test_a_row_does_not_see_the_other_rows(generator, params, w):
    images = generator.synthesize(params, w)
    for row in range(5):
        np.testing.assert_allclose(
            generator.synthesize(params, w[row : row + 1])[0], images[row], atol=ROUNDING
        )


def test_samples_have_the_scale_of_the_prior(generator, params, key):
    drawn = generator.sample(params, rng.stream(key, "sample"), 20_000) / params["scale"][None]
    # Of 20 000 draws, mean and standard deviation err by 0.7 % and 0.5 %; five of those errors.
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.036)
    np.testing.assert_allclose(drawn.std(axis=0), 1, atol=0.025)


def test_the_prior_falls_by_twenty(params):
    scale = np.asarray(params["scale"])
    np.testing.assert_allclose(scale, 20.0 ** (-np.arange(DIM) / DIM), rtol=1e-5)


def test_keys_decide(generator, params, key):
    one, other = jax.random.key(1), jax.random.key(2)
    first, again = generator.sample(params, one, 3), generator.sample(params, jax.random.key(1), 3)
    np.testing.assert_array_equal(first, again)
    assert (first != generator.sample(params, other, 3)).all()
    assert (linear.init(key)["matrix"] != linear.init(jax.random.key(3))["matrix"]).any()


def test_too_many_dimensions_are_refused():
    with pytest.raises(ValueError, match="exceeds the 12"):
        linear.make(latent_dim=13, size=2)
