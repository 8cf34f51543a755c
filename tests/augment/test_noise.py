"""Noise has the promised standard deviation, on the range [-1, 1]."""

import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.augment.noise import gaussian_noise


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
