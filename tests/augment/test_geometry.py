"""Crops against Pillow's resizing of the same window; turned windows against Pillow, scipy and crops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradients import assert_gradient
from PIL import Image
from scipy.ndimage import map_coordinates

from latentfp.augment.geometry import crop_and_resize, random_crop_and_resize, rotate, warp

# Positions below 64 in float32 are exact to 4e-6, and neighbours differ by at most 2.
FLOAT32 = 2e-5


def noisy(*shape):
    return np.random.default_rng(2).uniform(-1, 1, (*shape, 3)).astype(np.float32)


def by_channel(operation, image):
    return np.stack([operation(channel) for channel in np.moveaxis(image, 2, 0)], axis=-1)


def resized(window, h, w):
    return by_channel(lambda c: Image.fromarray(c).resize((w, h), Image.Resampling.BILINEAR), window)


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
    image = noisy(*shape)
    cropped = crop_and_resize(jnp.asarray(image), scale=scale)
    np.testing.assert_allclose(cropped, resized(image[rows, columns], *shape), rtol=0, atol=FLOAT32)


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


@pytest.mark.parametrize("degrees", [-137.0, -10.0, 3.3, 30.0])
@pytest.mark.parametrize("shape", [(31, 31), (20, 37)], ids=str)
def test_rotation_is_pillows(shape, degrees):
    image = noisy(*shape)
    expected = by_channel(
        lambda c: Image.fromarray(c).rotate(degrees, Image.Resampling.BILINEAR, fillcolor=-1), image
    )
    rotated = rotate(jnp.asarray(image), degrees=degrees)
    np.testing.assert_allclose(rotated, expected, rtol=0, atol=FLOAT32)
    np.testing.assert_array_equal(rotated[0, 0], -1)


def test_content_turns_counter_clockwise():
    """A quarter turn brings the right edge of a square to the top, whole pixel on whole pixel."""
    image = noisy(12, 12)
    quarter = np.moveaxis(image[:, ::-1], 0, 1)
    np.testing.assert_allclose(rotate(jnp.asarray(image), degrees=90.0), quarter, rtol=0, atol=FLOAT32)


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"),
    [(0.0, 0.7, (0.1, -0.05)), (0.0, 1.3, (0.0, 0.0)), (25.0, 0.6, (-0.2, 0.1)), (-80.0, 1.1, (0.3, 0.2))],
)
def test_a_window_is_scipys(degrees, scale, shift):
    image = noisy(24, 33)
    cos, sin = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    down, right = np.meshgrid(np.arange(24) - 11.5, np.arange(33) - 16.0, indexing="ij")
    y = 11.5 + 24 * shift[0] + cos * down + sin * right
    x = 16.0 + 33 * shift[1] - sin * down + cos * right
    expected = by_channel(
        lambda c: map_coordinates(c.astype(np.float64), [y, x], order=1, mode="nearest"), image
    )
    beyond = (y < -0.5) | (y > 23.5) | (x < -0.5) | (x > 32.5)
    expected[beyond] = -1
    warped = warp(jnp.asarray(image), degrees=degrees, scale=scale, shift=shift)
    np.testing.assert_allclose(warped, expected, rtol=0, atol=FLOAT32)
    assert beyond.mean() < 0.5, "a test of black only would be empty"


@pytest.mark.parametrize(
    ("shape", "scale", "shift"),
    [
        ((20, 30), 0.8, (0.0, 0.0)),
        ((20, 30), 0.7, (0.0, -0.5 / 30)),  # 21 of 30 columns: 9 are left over, 4 of them before
        ((32, 32), 0.5, (0.0, 0.0)),
    ],
)
def test_a_window_of_whole_pixels_is_the_crop_but_for_its_border(shape, scale, shift):
    image = jnp.asarray(noisy(*shape))
    edge = int(np.ceil(0.5 / scale))  # output pixels that lie less than half a pixel from the border
    inner = np.s_[edge:-edge, edge:-edge]
    cropped, warped = crop_and_resize(image, scale=scale), warp(image, scale=scale, shift=shift)
    np.testing.assert_allclose(warped[inner], cropped[inner], rtol=0, atol=FLOAT32)
    assert not np.allclose(warped[0], cropped[0], atol=0.1), "the crop repeats its own edge"


def test_the_whole_window_is_the_image_itself():
    image = jnp.asarray(noisy(9, 14))
    np.testing.assert_array_equal(warp(image), image)


@pytest.mark.parametrize(
    "window",
    [
        lambda s: {"degrees": s},
        lambda s: {"degrees": 12.0, "scale": s / 10},
        lambda s: {"degrees": 12.0, "scale": 0.6, "shift": (s / 100, -s / 50)},
        lambda s: {"scale": 0.7, "shift": jnp.stack([s / 100, s / 70])},
    ],
    ids=["degrees", "scale", "shift", "shifts"],
)
def test_the_gradient_by_the_window_is_that_of_finite_differences(window):
    with jax.enable_x64(True):
        image = jnp.asarray(noisy(14, 11), jnp.float64)
        assert_gradient(lambda s: warp(image, **window(s)), 7.3)


@pytest.mark.parametrize("scale", [0.0, -0.5, 1.01])
def test_impossible_scales_are_refused(scale, key):
    with pytest.raises(ValueError, match="share of each side"):
        crop_and_resize(jnp.zeros((8, 8, 3)), scale=scale)
    with pytest.raises(ValueError, match="share of each side"):
        random_crop_and_resize(key, jnp.zeros((8, 8, 3)), scale=scale)


@pytest.mark.parametrize("scale", [0.0, -0.5])
def test_impossible_windows_are_refused(scale):
    with pytest.raises(ValueError, match="positive share"):
        warp(jnp.zeros((8, 8, 3)), scale=scale)
