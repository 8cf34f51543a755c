"""Averaging areas, against float64 means of slices."""

import numpy as np
import pytest

from latentfp.data.avatars import shrink


def oracle(pixels, size):
    """Block means in float64, one block at a time."""
    block = pixels.shape[1] // size
    means = np.empty((len(pixels), size, size, 3))
    for row in range(size):
        for column in range(size):
            rows, columns = slice(row * block, (row + 1) * block), slice(column * block, (column + 1) * block)
            means[:, row, column] = pixels[:, rows, columns].astype(np.float64).mean(axis=(1, 2))
    return means


@pytest.mark.parametrize("size", [1, 4, 8, 12, 24])
def test_shrink_is_the_nearest_level_to_the_mean_of_each_block(size):
    pixels = np.random.default_rng(size).integers(0, 256, (3, 24, 24, 3), np.uint8)
    small = shrink(pixels, size)
    assert small.dtype == np.uint8
    # sums of at most 24² bytes are exact in float64, so rounding halves up is exactly floor(mean + 1/2)
    np.testing.assert_array_equal(small, np.floor(oracle(pixels, size) + 0.5))


def test_white_stays_white_and_halves_round_up():
    np.testing.assert_array_equal(shrink(np.full((1, 64, 64, 3), 255, np.uint8), 2), 255)
    pair = np.repeat(np.array([[0, 1], [0, 1]], np.uint8)[None, :, :, None], 3, axis=3)
    np.testing.assert_array_equal(shrink(pair, 1), 1)


@pytest.mark.parametrize("size", [0, -2, 5, 16])
def test_a_size_that_does_not_divide_is_refused(size):
    with pytest.raises(ValueError, match="divisor of 8"):
        shrink(np.zeros((1, 8, 8, 3), np.uint8), size)
