"""Sharpness against Pillow's."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from latentfp.augment.blur import sharpness
from latentfp.pixels import to_float, to_pixels


@pytest.mark.parametrize("factor", [0.3, 1.0, 1.5, 2.0])
def test_pixels_are_those_of_pillow(factor):
    pixels = np.random.default_rng(3).integers(0, 256, (17, 30, 3), dtype=np.uint8)
    expected = np.asarray(ImageEnhance.Sharpness(Image.fromarray(pixels)).enhance(factor)).astype(int)
    changed = to_pixels(np.asarray(sharpness(jnp.asarray(to_float(pixels)), factor=factor)))
    # Pillow rounds the smoothed image to whole levels, and cuts the result.
    assert np.abs(changed - expected).max() <= 1 + 0.5 * abs(1 - factor)
    assert (expected != pixels).any() == (factor != 1)


def test_an_impossible_factor_is_refused():
    with pytest.raises(ValueError, match="positive"):
        sharpness(jnp.zeros((4, 4, 3)), factor=0.0)
