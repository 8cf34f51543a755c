"""Perspective against scikit-image's, and its corners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.transform import ProjectiveTransform, warp

from latentfp.augment.geometry import SQUARE, perspective, random_perspective

H, W = 24, 40


@pytest.fixture
def image():
    y, x = np.mgrid[:H, :W]
    return np.stack([np.sin(x / 5 + y / 9), np.cos(y / 4), np.sin((x - y) / 7)], axis=-1).astype(np.float32)


def test_values_are_those_of_scikit_image(image):
    corners = np.array([[0.05, 0.1], [0.9, -0.1], [1.0, 0.95], [0.1, 0.8]])
    size = np.array([W, H])
    back = ProjectiveTransform.from_estimate(corners * size - 0.5, np.array(SQUARE) * size - 0.5)
    expected = warp(image, back, order=1, mode="constant", cval=np.nan, preserve_range=True)
    found = np.asarray(perspective(jnp.asarray(image), corners=jnp.asarray(corners)))
    inside = np.isfinite(expected)
    # Places are exact to 1e-5 pixels (eight equations in float32), neighbours differ by up to 0.4.
    np.testing.assert_allclose(found[inside], expected[inside], rtol=0, atol=5e-5)
    black = (found == -1).all(axis=-1)
    assert 0.05 < black.mean() < 0.3
    assert not inside[black].any()


def test_the_own_corners_change_nothing(image):
    same = perspective(jnp.asarray(image), corners=jnp.asarray(SQUARE))
    np.testing.assert_allclose(same, image, rtol=0, atol=2e-5)


@pytest.mark.slow
def test_the_gradient_by_the_corners_is_that_of_finite_differences(image):
    """Of a smooth image seen from inside, where nothing jumps."""
    zoomed = jnp.asarray([[-0.2, -0.1], [1.1, -0.2], [1.2, 1.3], [-0.1, 1.1]])
    with jax.enable_x64(True):

        def total(corners):
            return jnp.sum(perspective(jnp.asarray(image, jnp.float64), corners=corners) ** 3)

        at, step = jnp.asarray(zoomed, jnp.float64), 1e-7
        direction = jnp.asarray(np.random.default_rng(0).standard_normal((4, 2)))
        numeric = (total(at + step * direction) - total(at - step * direction)) / (2 * step)
        exact = jnp.vdot(jax.grad(total)(at), direction)
    # Kinks at the pixels' centres, of which a step of 1e-7 crosses none: 960 places of density 1.
    np.testing.assert_allclose(exact, numeric, rtol=1e-5)


def test_random_corners_move_inwards_by_half_a_side_at_most(key):
    keys = jax.random.split(key, 50)
    white = jnp.ones((H, W, 3))
    seen = jax.vmap(lambda one: random_perspective(one, white, distortion=0.5))(keys)[..., 0] > 0
    assert seen[:, H // 4 + 1 : -H // 4 - 1, W // 4 + 1 : -W // 4 - 1].all(), "a quarter of a side at most"
    black = 1 - seen.mean(axis=(1, 2))
    # Every corner moves by an eighth of a side on average, so an edge cuts off as much: four make 44 %.
    assert abs(black.mean() - 0.44) < 0.05
    assert black.std() > 0.02


def test_an_impossible_distortion_is_refused(key):
    with pytest.raises(ValueError, match="half the sides"):
        random_perspective(key, jnp.zeros((4, 4, 3)), distortion=1.5)
