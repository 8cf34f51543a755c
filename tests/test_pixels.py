"""The 8-bit boundary, over all 256 pixel values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.pixels import round_to_8bit, to_float, to_pixels

ALL = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("numpy", [np, jnp])
def test_every_pixel_survives_the_way_to_float_and_back(numpy):
    image = to_float(numpy.asarray(ALL))
    assert isinstance(image, type(numpy.asarray(ALL)))
    assert image.dtype == np.float32
    assert image[0] == -1
    assert image[255] == 1
    np.testing.assert_array_equal(to_pixels(image), ALL)
    np.testing.assert_array_equal(jax.jit(lambda p: to_pixels(to_float(p)))(ALL), ALL)


@pytest.mark.parametrize("numpy", [np, jnp])
def test_the_nearest_pixel_is_taken_and_values_outside_are_limited(numpy):
    x = np.linspace(-1.5, 1.5, 3001)
    nearest = np.abs(x[:, None] - np.linspace(-1, 1, 256)[None, :]).argmin(1)
    away_from_ties = np.abs((x + 1) * 127.5 % 1 - 0.5) > 1e-3
    pixels = np.asarray(to_pixels(numpy.asarray(x, np.float32)))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[away_from_ties], nearest[away_from_ties])


def test_bfloat16_is_widened_before_it_is_rounded():
    image = jnp.asarray([-1, 0.5, 1], jnp.bfloat16)
    np.testing.assert_array_equal(to_pixels(image), [0, 191, 255])


def test_rounding_keeps_the_gradient_inside_and_stops_it_outside():
    x = jnp.asarray([-1.2, -1.0, 0.1, 1.0, 1.3])
    np.testing.assert_array_equal(round_to_8bit(x), to_float(to_pixels(x)))
    np.testing.assert_array_equal(jax.jacobian(round_to_8bit)(x), np.diag([0, 1, 1, 1, 0]))
    np.testing.assert_array_equal(jax.jacfwd(round_to_8bit)(x), np.diag([0, 1, 1, 1, 0]))
