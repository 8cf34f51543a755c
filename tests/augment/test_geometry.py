"""Crops against Pillow's bilinear resizing of the same window."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from latentfp.augment.geometry import crop_and_resize, random_crop_and_resize


def pillow(window, h, w):
    channels = [
        Image.fromarray(c).resize((w, h), Image.Resampling.BILINEAR) for c in np.moveaxis(window, 2, 0)
    ]
    return np.stack([np.asarray(c) for c in channels], axis=-1)


@pytest.mark.parametrize(
    ("shape", "scale", "rows", "columns"),
    [
        ((64, 64), 0.8, slice(6, 57), slice(6, 57)),  # 51 of 64 pixels; 13 are left over, 6 of them before
        ((20, 30), 0.5, slice(5, 15), slice(7, 22)),
        ((9, 7), 1.0, slice(0, 9), slice(0, 7)),
        ((9, 7), 0.01, slice(4, 5), slice(3, 4)),
    ],
)
def test_the_centre_crop_is_pillows(shape, scale, rows, columns):
    image = np.random.default_rng(2).uniform(-1, 1, (*shape, 3)).astype(np.float32)
    expected = pillow(image[rows, columns], *shape)
    cropped = crop_and_resize(jnp.asarray(image), scale=scale)
    # Positions below 64 in float32 are exact to 4e-6, and neighbours differ by at most 2.
    np.testing.assert_allclose(cropped, expected, rtol=0, atol=2e-5)


def test_random_windows_lie_everywhere_and_only_inside():
    """Each pixel holds its own position, so the corners of a crop name its window."""
    h, w, height, width = 8, 10, 6, 8
    rows, columns = np.mgrid[:h, :w]
    image = jnp.asarray(np.stack([rows, columns, rows], axis=-1), jnp.float32)
    keys = jax.random.split(jax.random.key(0), 400)
    crops = np.asarray(jax.vmap(lambda key: random_crop_and_resize(key, image, scale=0.75))(keys))
    top, left = crops[:, 0, 0, 0], crops[:, 0, 0, 1]
    np.testing.assert_allclose(crops[:, -1, -1, 0] - top, height - 1, atol=1e-5)
    np.testing.assert_allclose(crops[:, -1, -1, 1] - left, width - 1, atol=1e-5)
    windows, counts = np.unique(np.round(np.stack([top, left]), 4), axis=1, return_counts=True)
    assert {tuple(window) for window in windows.T} == {(i, j) for i in range(3) for j in range(3)}
    # 400 windows over 9 places: 44.4 each, standard deviation 6.3; five of them.
    assert np.abs(counts - 400 / 9).max() < 32


@pytest.mark.parametrize("scale", [0.0, -0.5, 1.01])
def test_impossible_scales_are_refused(scale):
    with pytest.raises(ValueError, match="share of each side"):
        crop_and_resize(jnp.zeros((8, 8, 3)), scale=scale)
