"""Brightness, contrast, saturation and hue against a restatement in float64, and against Pillow's."""

import colorsys

import jax.numpy as jnp
import numpy as np
import pytest
from gradients import assert_gradient
from PIL import Image, ImageEnhance

from latentfp.augment.colour import brightness, contrast, hue, saturation
from latentfp.pixels import to_float, to_pixels

FLOAT32 = 1e-6  # a few roundings of values of at most 2, eps32 = 6e-8 each; the mean grey is a pairwise sum
FACTORS = [0.4, 1.0, 1.3, 2.5]


def brighter(v, factor):
    return np.clip(factor * v, 0, 1)


def more_contrast(v, factor):
    grey = (0.299 * v[..., 0] + 0.587 * v[..., 1] + 0.114 * v[..., 2]).mean()
    return np.clip(grey + factor * (v - grey), 0, 1)


def more_saturation(v, factor):
    grey = (0.299 * v[..., 0] + 0.587 * v[..., 1] + 0.114 * v[..., 2])[..., None]
    return np.clip(grey + factor * (v - grey), 0, 1)


@pytest.fixture
def pixels():
    return np.random.default_rng(3).integers(0, 256, (17, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(
    ("ours", "restated"), [(brightness, brighter), (contrast, more_contrast), (saturation, more_saturation)]
)
def test_values_are_those_of_intensities(ours, restated, factor, pixels):
    expected = 2 * restated(pixels / 255, factor) - 1
    changed = ours(jnp.asarray(to_float(pixels)), factor=factor)
    np.testing.assert_allclose(changed, expected, rtol=0, atol=FLOAT32)
    assert (expected > 0.999).any() == (factor >= 1), "white is met, and limited, where the factor grows"


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (brightness, ImageEnhance.Brightness),
        (contrast, ImageEnhance.Contrast),
        (saturation, ImageEnhance.Color),
    ],
)
def test_pixels_are_those_of_pillow(ours, theirs, factor, pixels):
    """Pillow cuts the result to whole levels; the grey of every pixel and their mean are whole as well."""
    expected = np.asarray(theirs(Image.fromarray(pixels)).enhance(factor)).astype(int)
    changed = to_pixels(np.asarray(ours(jnp.asarray(to_float(pixels)), factor=factor)))
    atol = 1 if ours is brightness else 1 + abs(1 - factor)
    assert np.abs(changed - expected).max() <= atol


@pytest.mark.parametrize("operation", [brightness, contrast, saturation])
def test_the_gradient_by_the_factor_is_that_of_finite_differences(operation, pixels):
    image = 0.5 * to_float(pixels)  # no value meets a limit
    assert_gradient(lambda factor: operation(jnp.asarray(image, jnp.float64), factor=factor), 1.2)


@pytest.mark.parametrize("turn", [-0.5, -0.13, 0.0, 0.1, 0.25, 1.0])
def test_hue_is_that_of_the_standard_library(turn, pixels):
    """Pixels of equal channels are among them: greys, and hues on the border of two sixths."""
    pixels[0, :4] = [[90, 90, 90], [200, 200, 10], [10, 200, 200], [0, 0, 0]]
    expected = [colorsys.rgb_to_hsv(*v) for v in pixels.reshape(-1, 3) / 255]
    expected = [colorsys.hsv_to_rgb((h + turn) % 1, s, v) for h, s, v in expected]
    changed = hue(jnp.asarray(to_float(pixels)), turn=turn)
    # Hues are exact to eps32 times 6 sixths, and a sixth is the whole of a channel.
    np.testing.assert_allclose((changed.reshape(-1, 3) + 1) / 2, expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("operation", [brightness, contrast, saturation])
@pytest.mark.parametrize("factor", [0.0, -1.0])
def test_impossible_factors_are_refused(operation, factor):
    with pytest.raises(ValueError, match="positive"):
        operation(jnp.zeros((4, 4, 3)), factor=factor)
