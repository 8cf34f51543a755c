"""The ascent reaches what can be computed for a linear gain, stays in its ball, and moves an embedding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp import rng
from latentfp.augment.learned import ascend, away_from
from latentfp.augment.suites import suite

pytestmark = pytest.mark.optimised  # hundreds of gradients


def test_a_linear_gain_is_raised_to_the_corner_of_the_ball(key):
    image = jax.random.uniform(jax.random.key(0), (6, 7, 3), minval=-1, maxval=1)
    slope = jax.random.normal(jax.random.key(1), image.shape)
    moved = ascend(key, image, gain=lambda x: jnp.sum(slope * x), radius=0.1, steps=50)
    np.testing.assert_allclose(moved, np.clip(image + 0.1 * np.sign(slope), -1, 1), atol=1e-6)


def test_it_stays_in_the_ball_and_moves_the_features_more_than_noise_does(key):
    image = jax.random.uniform(jax.random.key(0), (8, 8, 3), minval=-0.9, maxval=0.9)
    mixing = jax.random.normal(jax.random.key(1), (192, 16)) / 14
    features = lambda x: jnp.tanh(x.reshape(-1) @ mixing)  # noqa: E731
    gain, radius = away_from(features, image), 8 / 255
    assert gain(image) == 0
    moved = ascend(key, image, gain=gain, radius=radius)
    assert np.abs(moved - image).max() <= radius + 1e-6
    noise = radius * np.sign(jax.random.normal(jax.random.key(2), image.shape))
    assert gain(moved) > 5 * gain(image + noise)


@pytest.mark.slow
@pytest.mark.parametrize("levels", [2, 8])
def test_the_attacks_of_waves_stay_within_their_levels(levels, key):
    apply = {attack.name: attack.apply for attack in suite("waves")}[f"adversarial {levels}"]
    pixels = np.random.default_rng(0).integers(40, 200, (32, 32, 3), dtype=np.uint8)
    first, again, other = (apply(rng.stream(key, stream), pixels) for stream in ("a", "a", "b"))
    changed = np.abs(first.astype(int) - pixels)
    assert first.dtype == np.uint8
    assert changed.max() <= levels
    assert changed.mean() > 0.6 * levels, "nearly all values go as far as they may"
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
