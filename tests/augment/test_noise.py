"""Noise has the promised standard deviation, on the range [-1, 1]."""

import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.augment.noise import gaussian_noise, poisson, salt_and_pepper, speckle


@pytest.mark.parametrize("std", [0.02, 0.1])
def test_the_standard_deviation_is_that_of_the_range_minus_one_to_one(key, std):
    noise = np.asarray(gaussian_noise(key, jnp.zeros((64, 64, 3)), std=std), np.float64)
    n = noise.size
    # Five standard errors: of the mean, std / sqrt(n); of the standard deviation, std / sqrt(2 n).
    assert abs(noise.mean()) < 5 * std / n**0.5
    assert abs(noise.std() / std - 1) < 5 / (2 * n) ** 0.5


def test_the_sum_is_limited_to_the_range(key):
    image = gaussian_noise(key, jnp.full((64, 64, 3), 0.95), std=0.1)
    # P(n > 0.5) = 0.3085; five standard errors of a share of 12288 are 0.021.
    assert np.max(image) == 1
    assert abs(np.mean(image == 1) - 0.3085) < 0.021


def test_speckle_grows_with_the_intensity(key):
    grey = jnp.broadcast_to(jnp.asarray([-1.0, -0.5, 0.0])[None, None], (64, 64, 3))
    noise = np.asarray(speckle(key, grey, std=0.2) - grey, np.float64)
    # 0.2 of intensities 0, 0.25 and 0.5, twice on [-1, 1]; five standard errors, 0.055 of 1 for 4096 values.
    np.testing.assert_allclose(noise.std(axis=(0, 1)), [0, 0.1, 0.2], rtol=0.055)


def test_poisson_has_as_much_variance_as_photons(key):
    grey = jnp.broadcast_to(jnp.asarray([-1.0, -0.5, 0.0])[None, None], (64, 64, 3))
    photons = np.asarray((poisson(key, grey, peak=100.0) + 1) / 2 * 100, np.float64)
    np.testing.assert_allclose(photons, np.round(photons), atol=1e-4)
    # Means and variances 0, 25 and 50; five standard errors of 4096: 5 √50 / 64 and 5 · 50 √(2 / 4096).
    np.testing.assert_allclose(photons.mean(axis=(0, 1)), [0, 25, 50], atol=0.56)
    np.testing.assert_allclose(photons.var(axis=(0, 1)), [0, 25, 50], atol=5.6)


def test_salt_and_pepper_share_what_they_cover(key):
    image = jnp.full((64, 64, 3), 0.3)
    noisy = np.asarray(salt_and_pepper(key, image, amount=0.2))
    kinds = np.stack([(noisy == value).all(axis=-1) for value in (1, -1)])
    assert (kinds.any(axis=0) | (noisy == np.float32(0.3)).all(axis=-1)).all(), "whole pixels"
    # Five standard errors of a share of a tenth of 4096 pixels.
    np.testing.assert_allclose(kinds.mean(axis=(1, 2)), 0.1, atol=0.024)


def test_an_impossible_amount_is_refused(key):
    with pytest.raises(ValueError, match="share of the pixels"):
        salt_and_pepper(key, jnp.zeros((4, 4, 3)), amount=1.2)
