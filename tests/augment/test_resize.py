"""Shrinking and enlarging against Pillow's bilinear filter on float images."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from latentfp.augment.geometry import shrink_and_enlarge


@pytest.mark.parametrize("scale", [1.0, 0.75, 0.5, 0.316, 0.01])
@pytest.mark.parametrize("shape", [(32, 32), (31, 45), (3, 8)], ids=str)
def test_values_are_those_of_pillow(scale, shape):
    image = np.random.default_rng(1).uniform(-1, 1, (*shape, 3)).astype(np.float32)
    small = [max(round(float(np.float32(side) * np.float32(scale))), 1) for side in shape[::-1]]
    expected = np.stack(
        [
            np.asarray(
                Image.fromarray(channel)
                .resize(small, Image.Resampling.BILINEAR)
                .resize(shape[::-1], Image.Resampling.BILINEAR)
            )
            for channel in np.moveaxis(image, 2, 0)
        ],
        axis=-1,
    )
    # Pillow sums a few hundred products in float32 at most, in another order.
    np.testing.assert_allclose(shrink_and_enlarge(jnp.asarray(image), scale=scale), expected, atol=2e-6)


@pytest.mark.parametrize("scale", [0.0, 1.1])
def test_impossible_scales_are_refused(scale):
    with pytest.raises(ValueError, match="share of each side"):
        shrink_and_enlarge(jnp.zeros((4, 4, 3)), scale=scale)
