"""Parts that were drawn over images of a linear generator, which has no say in them."""

import numpy as np
import pytest
from linear_space import BITS, D
from linear_subject import draw_thetas, images_at, make_subject

from latentfp import rng
from latentfp.attribution import cascade, covered
from latentfp.attribution.cascade import Budget, Cascade
from latentfp.attribution.covered import GRID, Look
from latentfp.attribution.estimate import Estimate, answer, numbered
from latentfp.attribution.membership import explained, limits
from latentfp.attribution.observation import ROUNDING
from latentfp.augment import damage
from latentfp.choices import Method, Stage

SIZE, N = 32, 4
STAGES = (Stage.DECODER, Stage.REFINE, Stage.MULTISTART)


@pytest.fixture(scope="module")
def subject():
    return make_subject(size=SIZE, sigma=2.0)


@pytest.fixture(scope="module")
def made(subject):
    """Codes and images."""
    theta = draw_thetas(N)
    return theta[:, -BITS:] > 0, images_at(subject, theta)


def answered(subject, images, *, loss=90.0, distortion=None):
    """What the last stage answers where refine left `loss`."""
    n, logits = len(images), np.zeros((len(images), BITS), np.float32)
    lost = Estimate(logits > 0, logits, np.zeros((n, D - BITS)), np.full(n, loss), np.zeros(n, int), logits)
    previous = answer(lost, Stage.REFINE, passes=0, distortion=distortion)
    made = Cascade(Method.AUTO, STAGES, subject, None, Budget(), rng.root(0))
    heard = []
    found = cascade.RUN[Stage.MULTISTART](made, images, numbered(0, n), previous, heard.append)
    assert sum(heard) == made.work(Stage.MULTISTART) * n
    return found


def erased(images):
    covered_images = images.copy()
    covered_images[:, 9:25, 3:19] = 0.7
    return covered_images


def noisy(images):
    """A sticker that is not of one colour."""
    covered_images = images.copy()
    covered_images[:, 20:28, 4:28] = np.random.default_rng(5).uniform(-1, 1, (N, 8, 24, 3))
    return covered_images


@pytest.mark.parametrize("cover", [erased, noisy])
def test_codes_are_read_from_what_is_left(subject, made, cover):
    codes, images = made
    shown = cover(images)
    found = answered(subject, shown)
    np.testing.assert_array_equal(found.estimate.code, codes)
    hidden = covered.pixels_of(found.hidden, SIZE, SIZE)
    changed = (shown != images).any(axis=3)
    assert hidden[changed].mean() > 0.95
    assert (covered.share(found.hidden) < 0.45).all()


def test_what_is_partly_explained_clears_nobody(subject, made):
    whole, part = answered(subject, made[1]), answered(subject, erased(made[1]))
    assert not whole.hidden.any()
    assert explained(whole).all()
    assert part.hidden.any(axis=(1, 2)).all()
    assert not explained(part).any()
    np.testing.assert_array_equal(limits(part), 0)


def test_where_most_is_covered_nothing_is_left_out(subject, made):
    shown = made[1].copy()
    shown[:, :24] = np.random.default_rng(6).uniform(-1, 1, (N, 24, SIZE, 3))
    found = answered(subject, shown)
    assert not found.hidden.any()
    np.testing.assert_array_equal(found.estimate.loss, 90)


def test_where_a_damage_explains_an_image_only_what_is_flat_makes_doubtful(subject, made):
    blurred = np.zeros((N, damage.SIZE), np.float32)
    blurred[:, 4] = 1.0
    fine = answered(subject, made[1], loss=1.0, distortion=blurred)
    np.testing.assert_array_equal(fine.passes, 0)
    framed = answered(subject, erased(made[1]), loss=1.0, distortion=blurred)
    np.testing.assert_array_equal(framed.estimate.code, made[0])


def test_a_descent_that_stopped_near_goes_on(subject, made):
    near = answered(subject, made[1], loss=3.0)
    np.testing.assert_array_equal(near.estimate.code, made[0])
    assert explained(near).all()
    np.testing.assert_array_equal(answered(subject, made[1], loss=1.0).passes, 0)


def test_flat_is_what_is_of_one_colour():
    images = np.random.default_rng(7).uniform(-1, 1, (1, 12, 12, 3)).astype(np.float32)
    images[0, 2:6, 5:8] = [0.1, 0.2, 0.3]
    images[0, 8:10, 8:12] = 0.5  # thinner than the window
    expected = np.zeros((12, 12), bool)
    expected[2:6, 5:8] = True
    np.testing.assert_array_equal(covered.flat(images)[0], expected)


@pytest.mark.parametrize("side", [32, 48, 50])
def test_cells_are_left_out_that_stick_out(side):
    explanation = np.zeros((2, side, side, 3), np.float32)
    images = explanation + np.float32(ROUNDING)
    images[1, : side // 4] += 20 * ROUNDING
    fine, coarse = (covered.unexplained(images, explanation, Look(4.0, size)) for size in (1, 2))
    for found in (fine, coarse):
        assert found.shape == (2, GRID, GRID)
        assert not found[0].any()
        np.testing.assert_array_equal(found[1, :4], True)
        assert not found[1, 5:].any()
    pixels = covered.pixels_of(fine, side, side)
    assert pixels.shape == (2, side, side)
    assert pixels[1, : side // 4].all()
    assert covered.share(fine)[0] == 0


def test_of_fewer_pixels_than_cells_each_is_seen_by_several():
    explanation = np.zeros((1, 8, 8, 3), np.float32)
    images = explanation.copy()
    images[0, 6:] = 1
    found = covered.unexplained(images, explanation, Look(4.0, 1))
    assert covered.pixels_of(found, 8, 8)[0, 6:].all()
    assert not covered.pixels_of(found, 8, 8)[0, :6].any()


def test_pixels_that_are_hidden_are_not_a_number():
    images = np.ones((1, 4, 4, 3), np.float32)
    hidden = np.zeros((1, 4, 4), bool)
    hidden[0, 1, 2] = True
    found = covered.without(images, hidden)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found).all(axis=3), hidden)
    np.testing.assert_array_equal(np.isnan(found).any(axis=3), hidden)
