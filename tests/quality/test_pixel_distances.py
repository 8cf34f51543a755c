"""Pixel distances against float64 loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradients import assert_gradient
from tolerances import SAME_PROGRAM

from latentfp.quality.pixels import mse, multiscale, psnr, ssim

pytestmark = pytest.mark.optimised  # sums of vectors, which err less than those of single numbers

DISTANCES = {"mse": mse, "psnr": psnr, "ssim": ssim, "multiscale": multiscale}


@pytest.fixture
def pair():
    draw = np.random.default_rng(6)
    y, x = np.mgrid[:24, :16] / 16
    a = np.stack([np.sin(4 * x), np.cos(3 * y), x * y - 0.5], axis=-1)
    b = np.clip(a + 0.2 * draw.standard_normal(a.shape), -1, 1)
    return jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)


def ssim_by_loops(a, b):
    """Window by window, channel by channel."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    values = []
    for channel in range(3):
        for i in range(a.shape[0] - 10):
            for j in range(a.shape[1] - 10):
                x, y = a[i : i + 11, j : j + 11, channel], b[i : i + 11, j : j + 11, channel]
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
                cov = (window * (x - mx) * (y - my)).sum()
                likeness = (2 * mx * my + 0.0004) * (2 * cov + 0.0036)
                values.append(likeness / ((mx**2 + my**2 + 0.0004) * (vx + vy + 0.0036)))
    return np.mean(values)


def multiscale_by_loops(a, b):
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    levels = [np.mean(difference**2)]
    while all(side % 2 == 0 and side >= 8 for side in difference.shape[:2]):
        h, w, _ = difference.shape
        corners = [difference[i::2, j::2] for i in (0, 1) for j in (0, 1)]
        difference = np.mean(corners, axis=0)
        assert difference.shape == (h // 2, w // 2, 3)
        levels.append(np.mean(difference**2))
    return np.mean(levels), len(levels)


def test_values(pair):
    a, b = pair
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    # float32 sums of some hundred positive terms: a few eps32; the variances of SSIM lose another digit.
    np.testing.assert_allclose(mse(a, b), np.mean(difference**2), rtol=1e-6)
    np.testing.assert_allclose(psnr(a, b), 10 * np.log10(4 / np.mean(difference**2)), rtol=1e-6)
    np.testing.assert_allclose(ssim(a, b), ssim_by_loops(a, b), rtol=2e-5)
    np.testing.assert_allclose(multiscale(a, b), multiscale_by_loops(a, b)[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "levels"),
    [((64, 64), 5), ((8, 8), 2), ((4, 4), 1), ((48, 64), 4), ((10, 8), 2), ((9, 9), 1)],
    ids=str,
)
def test_the_pyramid_has_as_many_levels_as_stated(shape, levels):
    """A checkerboard of ±1 counts in the finest level alone."""
    board = 2.0 * (np.indices(shape).sum(0) % 2) - 1
    image = jnp.asarray(np.repeat(board[:, :, None], 3, axis=2), jnp.float32)
    assert multiscale_by_loops(image, 0 * image)[1] == levels
    np.testing.assert_allclose(multiscale(image, 0 * image), 1 / levels, rtol=1e-6)


def test_a_difference_of_a_tenth_of_the_range_is_20_decibels():
    assert abs(psnr(jnp.full((8, 8, 3), 0.1), jnp.full((8, 8, 3), -0.1)) - 20) < 1e-4
    assert np.isposinf(psnr(jnp.zeros((8, 8, 3)), jnp.zeros((8, 8, 3))))


@pytest.mark.parametrize("name", DISTANCES)
def test_symmetric_compiled_and_batched(name, pair):
    a, b = pair
    distance = DISTANCES[name]
    expected = distance(a, b)
    assert expected.shape == ()
    batch = jax.jit(jax.vmap(distance, in_axes=(0, None)))(jnp.stack([a, 0.5 * a]), b)
    np.testing.assert_allclose(distance(b, a), expected, **SAME_PROGRAM)
    np.testing.assert_allclose(batch, [expected, distance(0.5 * a, b)], **SAME_PROGRAM)


@pytest.mark.parametrize("name", DISTANCES)
def test_gradient(name, pair):
    a, b = pair
    assert_gradient(lambda x: DISTANCES[name](x, b), a)


def test_equal_images(pair):
    a, _ = pair
    assert mse(a, a) == multiscale(a, a) == 0
    np.testing.assert_allclose(ssim(a, a), 1, atol=1e-6)


def test_images_smaller_than_the_window_are_refused():
    with pytest.raises(ValueError, match=r"at least 11x11"):
        ssim(jnp.zeros((10, 20, 3)), jnp.zeros((10, 20, 3)))
