"""The draws of WOUAF have its ranges."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom, kstest

from latentfp import rng
from latentfp.augment import published

DRAWS = 600
UNLIKELY = 1e-5


@pytest.fixture
def many(key):
    """What a step makes of one image, with DRAWS keys."""

    def draw(step, image):
        keys = jax.vmap(partial(rng.stream, key, "draw"))(jnp.arange(DRAWS))
        return np.asarray(jax.jit(jax.vmap(lambda key: step(key, image)))(keys))

    return draw


def assert_shares(found, share):
    low, high = binom.ppf(UNLIKELY / 2, DRAWS, share), binom.ppf(1 - UNLIKELY / 2, DRAWS, share)
    assert low <= np.min(found)
    assert np.max(found) <= high


def test_shifts_are_whole_pixels_within_the_margins(many):
    """Every pixel of the image holds its own position, from which the shift is read."""
    h, w = 50, 25
    rows, columns = np.meshgrid(np.arange(h) / 100, np.arange(w) / 100, indexing="ij")
    moved = many(published.wouaf_shift, jnp.asarray(np.stack([rows, columns, rows], axis=-1), jnp.float32))
    down, right = np.moveaxis(100 * moved[:, 25, 12, :2] - [25, 12], 1, 0)
    np.testing.assert_allclose(down, np.round(down), atol=1e-3)  # 50 in float32 is exact to 4e-6
    np.testing.assert_allclose(right, np.round(right), atol=1e-3)
    black = (moved == -1).all(axis=-1)
    np.testing.assert_array_equal(black.all(axis=2).sum(axis=1), np.abs(np.round(down)))
    np.testing.assert_array_equal(black.all(axis=1).sum(axis=1), np.abs(np.round(right)))
    # Margins of 1, 2, 4, 5 rows and 0, 1, 2, 2 columns; the largest shift needs the largest margin.
    assert set(np.round(down)) == set(range(-5, 6))
    assert set(np.round(right)) == {-2, -1, 0, 1, 2}
    assert_shares(np.sum(np.round(down) == 5), 1 / 4 / 11)
    assert_shares(np.sum(np.round(right) == 0), (1 + 1 / 3 + 1 / 5 + 1 / 5) / 4)


def test_angles_are_even(many):
    """A slope keeps its steepness and turns with the image."""
    slope = jnp.broadcast_to(jnp.arange(16.0)[None, :, None] / 100, (16, 16, 3))
    turned = many(published.wouaf_turn, slope)[..., 0]
    across, down = turned[:, 8, 9] - turned[:, 8, 7], turned[:, 9, 8] - turned[:, 7, 8]
    degrees = np.rad2deg(np.arctan2(-down, across))
    assert kstest((degrees + 30) / 60, "uniform").pvalue > UNLIKELY
    # None of 600 in the last 1/50 has chance exp(-12).
    assert -30.01 < degrees.min() < -28.8
    assert 28.8 < degrees.max() < 30.01


def test_blurs_have_three_sizes_and_even_strengths(many):
    """Of a single bright pixel, neighbouring taps show the strength: t0 / t1 = exp(1 / 2 sigma²)."""
    image = jnp.zeros((9, 9, 3)).at[4, 4].set(1.0)
    row = many(published.wouaf_blur, image)[:, 4, :, 0]
    sizes, counts = np.unique((row > 0).sum(axis=1), return_counts=True)
    np.testing.assert_array_equal(sizes, [3, 5, 7])
    assert_shares(counts, 1 / 3)
    sigma = np.sqrt(0.5 / np.log(row[:, 4] / row[:, 5]))
    assert kstest((sigma - 1) / 2, "uniform").pvalue > UNLIKELY
    assert 0.99 < sigma.min() < 1.04
    assert 2.96 < sigma.max() < 3.01


def test_brightness_is_added(many):
    image = jnp.full((1, 2, 3), -0.3).at[0, 1].set(0.2)
    lit = many(published.wouaf_lighten, image)
    np.testing.assert_allclose(lit[:, 0, 1] - lit[:, 0, 0], 0.5, atol=1e-6)
    assert kstest((lit[:, 0, 1, 0] - 0.2 + 0.6) / 1.2, "uniform").pvalue > UNLIKELY
    assert np.abs(many(published.wouaf_lighten, jnp.ones((1, 1, 3)))).max() == 1


def test_erased_rectangles_have_their_areas_and_aspects(many):
    erased = (many(published.wouaf_erase, jnp.zeros((100, 100, 3))) == -1).all(axis=-1)
    heights, widths = erased.any(axis=2).sum(axis=1), erased.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(erased.sum(axis=(1, 2)), heights * widths)
    fits = np.maximum(heights, widths) < 100
    area, aspect = (heights * widths / 10_000)[fits], (heights / widths)[fits]
    # Sides are whole: each is wrong by half a pixel, and the shortest has 7.7.
    assert area.min() > 0.02 * 0.9
    assert area.max() < 0.33 * 1.05
    assert aspect.min() > 0.3 * 0.9
    assert aspect.max() < 3.3 * 1.1
    assert_shares(np.sum(heights > widths), 0.5)
    assert kstest((area - 0.02) / 0.31, "uniform").statistic < 0.1
