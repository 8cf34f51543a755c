"""Blur against a double sum in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.augment.blur import gaussian_blur

FLOAT32 = 2e-6  # two sums of up to 25 terms of at most 1, eps32 = 6e-8 each; 3e-7 seen


def double_sum(image, sigma, kernel_size):
    radius = kernel_size // 2
    padded = np.pad(image.astype(np.float64), ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    h, w, _ = image.shape
    total, weights = np.zeros(image.shape), 0.0
    for i in range(-radius, radius + 1):
        for j in range(-radius, radius + 1):
            weight = np.exp(-(i * i + j * j) / (2 * sigma * sigma))
            total += weight * padded[radius + i : radius + i + h, radius + j : radius + j + w]
            weights += weight
    return total / weights


@pytest.mark.parametrize(
    ("shape", "sigma", "kernel_size"), [((13, 20), 0.5, 25), ((16, 16), 2.0, 7), ((8, 5), 3.0, 25)]
)
def test_blur_is_the_double_sum(shape, sigma, kernel_size):
    image = np.random.default_rng(1).uniform(-1, 1, (*shape, 3)).astype(np.float32)
    blurred = gaussian_blur(jnp.asarray(image), sigma=sigma, kernel_size=kernel_size)
    np.testing.assert_allclose(blurred, double_sum(image, sigma, kernel_size), rtol=0, atol=FLOAT32)


@pytest.mark.parametrize(("sigma", "kernel_size"), [(1.0, 24), (1.0, 0), (0.0, 25), (-1.0, 25)])
def test_impossible_kernels_are_refused(sigma, kernel_size):
    with pytest.raises(ValueError, match="expected"):
        gaussian_blur(jnp.zeros((32, 32, 3)), sigma=sigma, kernel_size=kernel_size)
