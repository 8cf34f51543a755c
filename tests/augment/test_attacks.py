"""How attacks are put together: one rounding a stage, a key of its own for every step."""

import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.augment.attacks import coded, edited, in_order, keyless
from latentfp.augment.noise import gaussian_noise
from latentfp.pixels import to_float

GREY = np.full((64, 64, 3), 128, np.uint8)


@pytest.mark.parametrize(
    "chain", [edited, lambda *steps: in_order(*map(edited, steps))], ids=["edited", "in_order"]
)
def test_steps_draw_independent_noise(chain, key):
    """Two independent noises of 0.1 have the standard deviation 0.1 √2; one noise twice would have 0.2."""

    def noise(key, image):
        return gaussian_noise(key, image, std=0.1)

    std = to_float(chain(noise, noise)(key, GREY)).std()
    # Standard error 0.1 √2 / √(2 · 12288) = 0.0009; rounding adds 0.3 grey levels in quadrature, 1e-4.
    assert abs(std - 0.1 * 2**0.5) < 0.005


def test_steps_of_one_edit_are_rounded_once(key):
    """Ten halvings and ten doublings of the distance to grey, each rounded, lose all but a few levels."""
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    steps = [keyless(lambda x: x / 2)] * 10 + [keyless(lambda x: 2 * x)] * 10
    np.testing.assert_array_equal(edited(*steps)(key, pixels), pixels)
    assert len(np.unique(in_order(*map(edited, steps))(key, pixels))) < 8


def test_codecs_and_edits_come_in_order(key):
    def darker(pixels):
        return pixels - np.uint8(28)

    halved = edited(keyless(lambda x: jnp.clip((x + 1) / 2 - 1, -1, 1)))
    assert (in_order(coded(darker), halved)(key, GREY) == 50).all()
    assert (in_order(halved, coded(darker))(key, GREY) == 36).all()
