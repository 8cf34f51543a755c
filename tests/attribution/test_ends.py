"""Where descents end: soft bits against the exact posterior, the better of two ends, damage row by row."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import BITS, D
from linear_subject import draw_thetas, images_at, make_subject, posterior

from latentfp.attribution import ends
from latentfp.attribution.decoder import Reading, thetas
from latentfp.attribution.ends import (
    DOUBT,
    SHARE_BELOW,
    Ends,
    answered,
    better,
    blended,
    descended,
    ends_of,
)
from latentfp.attribution.estimate import Estimate, Status, answer
from latentfp.attribution.refine import SOLVED, Settings
from latentfp.augment import damage
from latentfp.augment.damage import Damage
from latentfp.choices import Stage
from latentfp.pixels import to_float, to_pixels

pytestmark = pytest.mark.usefixtures("quick_compile")
N = 4
SETTINGS = Settings(steps=6, inner=3)


@pytest.fixture(scope="module")
def subject():
    return make_subject(size=16, sigma=2.0)


def make_ends(n, *, misfit: Any = 1.0, theta=1.0, logits=3.0):
    row = np.ones((n, 1), np.float32)
    return Ends(
        theta=row * np.broadcast_to(np.float32(theta), (D,)),
        misfit=np.broadcast_to(np.asarray(misfit, np.float32), (n,)).copy(),
        logits=row * np.broadcast_to(np.float32(logits), (BITS,)),
        harms=np.zeros((n, damage.SIZE), np.float32),
        passes=np.arange(n),
    )


def reading_below(n):
    random = np.random.default_rng(3)
    logits, content = random.normal(size=(n, BITS)), random.normal(size=(n, D - BITS))
    estimate = Estimate(
        code=jnp.asarray(logits > 0),
        logits=jnp.asarray(logits, jnp.float32),
        content=jnp.asarray(content, jnp.float32),
        loss=jnp.full(n, 9.0),
        status=jnp.zeros(n, int),
        levels=jnp.asarray(logits, jnp.float32),
    )
    harm = jnp.asarray(random.normal(size=(n, damage.SIZE)), jnp.float32)
    return answer(estimate, Stage.DECODER, passes=2, looks=3, damage=harm)


class TestSoftBits:
    """On a linear generator every posterior is normal and known."""

    @pytest.fixture(scope="class")
    def found(self, subject):
        """Clean images, the last of them replaced by one that nothing explains."""
        images = images_at(subject, draw_thetas(N))
        images[-1] = np.random.default_rng(4).uniform(-0.3, 0.3, images[-1].shape)
        nothing = np.zeros((N, damage.SIZE), np.float32)
        origin = np.zeros((N, D), np.float32)
        return descended(subject, SETTINGS, images, nothing, origin, lambda _: None)

    def test_of_solved_images_are_log_likelihood_ratios(self, subject, found):
        _, covariance = posterior(subject, np.zeros((1, 16, 16, 3)), 1.0)
        for row in range(N - 1):
            assert found.misfit[row] < SOLVED
            variance = np.diag(covariance)[-BITS:] * max(1.0, found.misfit[row]) ** 2
            # The scale of the errors is the misfit; the prior adds less than a thousandth to them.
            np.testing.assert_allclose(found.logits[row], 2 * found.theta[row, -BITS:] / variance, rtol=2e-3)

    def test_of_unexplained_images_are_halved_and_limited(self, subject, found):
        assert found.misfit[-1] > 10 * SOLVED
        variance = np.diag(posterior(subject, np.zeros((1, 16, 16, 3)), found.misfit[-1])[1])[-BITS:]
        expected = DOUBT * np.tanh(found.theta[-1, -BITS:] / variance / DOUBT)
        np.testing.assert_allclose(found.logits[-1], expected, rtol=1e-3, atol=1e-4)
        assert np.abs(found.logits[-1]).max() <= DOUBT

    def test_of_solved_images_cost_nothing(self, found):
        local = 1 + D  # a linearisation and all directions
        assert ((found.passes[:-1] - 1) % 9 == 0).all()
        assert (found.passes[-1] - 1 - local) % 9 == 0

    def test_batches_cannot_be_seen(self, subject, found, monkeypatch):
        monkeypatch.setattr(ends, "PLACES", 2)
        images = images_at(subject, draw_thetas(N))
        images[-1] = np.random.default_rng(4).uniform(-0.3, 0.3, images[-1].shape)
        nothing, origin = np.zeros((N, damage.SIZE), np.float32), np.zeros((N, D), np.float32)
        again = descended(subject, SETTINGS, images, nothing, origin, lambda _: None)
        np.testing.assert_allclose(again.logits, found.logits, rtol=1e-4)


def test_every_image_is_compared_as_its_damage_demands(subject):
    """Of three images the second is blurred; each ends where it does alone, in its own row."""
    images = images_at(subject, draw_thetas(3))
    harm = Damage(blur=1.0)
    blurred = to_pixels(jax.vmap(lambda x: damage.distort(x, harm))(jnp.asarray(images[1:2])))
    images[1] = to_float(np.asarray(blurred))[0]
    harms = np.zeros((3, damage.SIZE), np.float32)
    harms[1] = damage.coordinates(harm)
    origin, heard = np.zeros((3, D), np.float32), []
    together = descended(subject, SETTINGS, images, harms, origin, heard.append)
    assert sum(heard) == 3 * SETTINGS.steps
    np.testing.assert_array_equal(together.theta[:, -BITS:] > 0, draw_thetas(3)[:, -BITS:] > 0)
    np.testing.assert_array_equal(together.harms[[0, 2]], 0)
    assert abs(together.harms[1, 4] - 1) < 0.1
    alone = descended(subject, SETTINGS, images[1:2], harms[1:2], origin[:1], lambda _: None)
    # Fitted damages move along curved paths, on which float32 adds up.
    np.testing.assert_allclose(alone.theta[0], together.theta[1], atol=1e-2)
    np.testing.assert_array_equal(alone.passes[0], together.passes[1])


def test_an_answer_is_the_end_of_a_descent(subject):
    below = reading_below(3)
    found = ends_of(subject, below)
    stds = np.asarray(subject.space.content_stds)[None]
    expected = thetas(Reading(below.estimate.content / stds, below.estimate.logits, below.damage))
    np.testing.assert_allclose(found.theta, expected, rtol=1e-6)
    back = answered(subject, Stage.REFINE, found)
    np.testing.assert_allclose(back.estimate.content, below.estimate.content, rtol=1e-5)
    np.testing.assert_array_equal(back.estimate.logits, below.estimate.logits)
    np.testing.assert_array_equal(back.damage, below.damage)
    np.testing.assert_array_equal(back.stage, Stage.REFINE)
    for part in found:
        part[0] = 0  # ends are written into


@pytest.mark.parametrize("where", ["misfit", "logits"])
def test_what_is_not_finite_is_a_status_of_that_image_only(subject, where):
    found = make_ends(3)
    getattr(found, where)[1] = np.nan
    estimate = answered(subject, Stage.REFINE, found).estimate
    np.testing.assert_array_equal(estimate.status, [Status.OK, Status.NONFINITE, Status.OK])
    np.testing.assert_array_equal(estimate.logits[1], 0)
    assert not np.asarray(estimate.code[1]).any()
    assert np.asarray(estimate.code[np.array([0, 2])]).all()


def test_the_decoder_has_a_say_where_a_descent_is_in_doubt():
    below, found = reading_below(3), make_ends(3, misfit=[0.9, SOLVED + 0.1, np.nan])
    logits = blended(found, below).logits
    np.testing.assert_array_equal(logits[0], 3.0)
    doubted = 3 + SHARE_BELOW * np.asarray(below.estimate.logits)
    np.testing.assert_allclose(logits[1:], doubted[1:], rtol=1e-6)
    np.testing.assert_array_equal(blended(found, None).logits, 3.0)


class TestBetter:
    PIXELS = 100

    def test_a_first_end_is_taken_as_it_is(self):
        found = make_ends(2, misfit=[1.0, 2.0])
        best, settled = better(None, found, np.arange(2), bits=BITS, pixels=self.PIXELS)
        assert best is found
        np.testing.assert_array_equal(settled, [True, False])

    def test_rows_are_compared_by_misfit_and_content(self):
        """100 log m² + 16 t²: a misfit of 2 weighs 139 more than 1, a content of 4 · 4 weighs 256."""
        best = make_ends(5, misfit=[2, 2, 2, 2, np.nan], theta=1, logits=-1.0)
        found = make_ends(3, misfit=[1, 3, np.nan], theta=1)
        merged, _ = better(best, found, np.array([3, 1, 0]), bits=BITS, pixels=self.PIXELS)
        np.testing.assert_array_equal(merged.misfit, [2, 2, 2, 1, np.nan])
        np.testing.assert_array_equal(merged.logits[:, 0], [-1, -1, -1, 3, -1])
        large = make_ends(1, misfit=1.0, theta=4)
        merged, _ = better(make_ends(1, misfit=2.0), large, np.array([0]), bits=BITS, pixels=self.PIXELS)
        np.testing.assert_array_equal(merged.misfit, 2)
        merged, _ = better(make_ends(1, misfit=np.nan), large, np.array([0]), bits=BITS, pixels=self.PIXELS)
        np.testing.assert_array_equal(merged.misfit, 1)

    def test_an_image_is_settled_by_a_solution_or_by_two_that_agree(self):
        best = make_ends(3, misfit=9.0)
        found = make_ends(3, misfit=[8.0, 8.0, 1.0])
        found.theta[:, 0] = -1  # content need not agree
        found.theta[1:, -1] = -1  # one bit of eight is more than a sixteenth
        _, settled = better(best, found, np.arange(3), bits=BITS, pixels=self.PIXELS)
        np.testing.assert_array_equal(settled, [True, False, True])
