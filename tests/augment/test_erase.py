"""Erased rectangles have the promised size, lie everywhere, and touch nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.augment.overlay import random_erase

H, W = 6, 8


def erased(area, aspect, draws=400):
    image = jax.random.uniform(jax.random.key(1), (H, W, 3))
    keys = jax.random.split(jax.random.key(2), draws)
    images = np.asarray(jax.vmap(lambda key: random_erase(key, image, area=area, aspect=aspect))(keys))
    black = (images == -1).all(axis=-1)
    np.testing.assert_array_equal(images[~black], np.broadcast_to(image, images.shape)[~black])
    return black


@pytest.mark.parametrize(
    ("area", "aspect", "size"),
    [
        (0.25, 1.0, (3, 3)),  # 12 pixels: 3.46 squared
        (0.25, 3.0, (6, 2)),
        (0.25, 0.34, (2, 6)),
        (0.001, 1.0, (1, 1)),
        (1.0, 9.0, (6, 2)),  # 48 pixels: 20.8 of 6 rows, 2.3 columns
    ],
)
def test_the_rectangle_has_its_size(area, aspect, size):
    black = erased(area, aspect, draws=20)
    rows, columns = black.any(axis=2).sum(axis=1), black.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(rows, size[0])
    np.testing.assert_array_equal(columns, size[1])
    np.testing.assert_array_equal(black.sum(axis=(1, 2)), size[0] * size[1])


def test_rectangles_lie_everywhere():
    black = erased(0.5, 1.0)  # 5 × 5 pixels: 2 × 4 places
    corners = np.stack([black.any(axis=2).argmax(axis=1), black.any(axis=1).argmax(axis=1)])
    places, counts = np.unique(corners, axis=1, return_counts=True)
    assert places.shape == (2, 8)
    # 400 rectangles over 8 places: 50 each, standard deviation 6.6; five of them.
    assert np.abs(counts - 50).max() < 33


@pytest.mark.parametrize(("area", "aspect"), [(0.0, 1.0), (1.1, 1.0), (0.5, 0.0), (0.5, -1.0)])
def test_impossible_rectangles_are_refused(area, aspect, key):
    with pytest.raises(ValueError, match="expected"):
        random_erase(key, jnp.zeros((4, 4, 3)), area=area, aspect=aspect)
