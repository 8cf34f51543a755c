"""Damped Gauss–Newton on a linear generator, whose best answer is known in closed form, in float64."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_subject import UNKNOWN, draw_thetas, images_at, make_subject, posterior, residuals

from latentfp.attribution import refine
from latentfp.attribution.observation import ROUNDING, UNDAMAGED
from latentfp.attribution.refine import SOLVED, Model, Settings
from latentfp.attribution.whitening import Curvature
from latentfp.augment import damage

D, BITS = 24, 8
# One undamped step of as many conjugate gradients as there are dimensions is exact for a linear generator.
WHOLE = Settings(steps=1, inner=D, first_scale=1.0, damping=0.0)
# float32 sums of 24 and 192 numbers, 1e-6, times the condition of the normal equations, below 100
NEAR = 1e-4


@pytest.fixture(scope="module")
def subject():
    return make_subject()


@pytest.fixture(scope="module")
def images(subject):
    return images_at(subject, draw_thetas(5))


class Walk:
    """Steps from these coordinates, one state after the other."""

    def __init__(self, subject, images, theta, settings, *, curvature=None, generator=None):
        model = Model(subject.params, subject.whitened, curvature or subject.curvature())
        harms = jnp.zeros((len(images), damage.SIZE))
        self.problem = refine.pose(UNDAMAGED, jnp.asarray(images), harms)
        fixed = (UNDAMAGED, generator or subject.generator, model, settings, self.problem)
        self.states = [refine.init(*fixed, jnp.asarray(theta, jnp.float32))]
        self._step = partial(refine.step, *fixed, bits=BITS)
        self.see = partial(refine.predicted, *fixed[:3], self.problem)

    def go(self, steps):
        for _ in range(steps):
            used = jax.tree.map(jnp.copy, self.states[-1])  # a step uses its state up
            self.states.append(self._step(used))
        return self.states[-1]


@pytest.mark.parametrize("start", ["mean", "elsewhere"])
@pytest.mark.parametrize("curvature", [None, UNKNOWN], ids=["exact", "unknown"])
def test_one_whole_step_is_the_posterior_mean(subject, images, start, curvature):
    theta = np.zeros((5, D)) if start == "mean" else draw_thetas(5, seed=6)
    walk = Walk(subject, images, theta, WHOLE, curvature=curvature)
    first, last = walk.states[0], walk.go(1)
    for i in range(5):
        expected, _ = posterior(subject, images[i : i + 1], float(first.residual[i]))
        np.testing.assert_allclose(last.point[i], expected[0], atol=NEAR)


def test_an_exact_curvature_needs_one_conjugate_gradient(subject, images):
    walk = Walk(subject, images, np.zeros((5, D)), WHOLE._replace(inner=1))
    first, last = walk.states[0], walk.go(1)
    expected, _ = posterior(subject, images[:1], float(first.residual[0]))
    np.testing.assert_allclose(last.point[0], expected[0], atol=NEAR)


def test_misfit_is_the_rms_residual_in_units_of_rounding(subject, images):
    theta = draw_thetas(5, seed=6)
    found = Walk(subject, images, theta, WHOLE).states[0].residual
    expected = np.sqrt(np.mean(residuals(subject, images, theta) ** 2, axis=1)) / ROUNDING
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_prior_pulls_more_where_less_is_seen(subject, images):
    """|theta| falls with the scale, below that of the least squares."""
    norms = []
    for first in (1.0, 10.0, 100.0):
        walk = Walk(subject, images, np.zeros((5, D)), WHOLE._replace(first_scale=first))
        norms.append(np.linalg.norm(walk.go(1).point, axis=1))
    loose = np.linalg.norm(posterior(subject, images, 1e-3)[0], axis=1)
    assert (loose > norms[0]).all()
    assert (norms[0] > norms[1]).all()
    assert (norms[1] > norms[2]).all()


def test_the_scale_falls_geometrically_to_its_last(subject, images):
    settings = Settings(steps=5, inner=2, first_scale=3.0, last_scale=0.7)
    walk = Walk(subject, images, np.zeros((5, D)), settings)
    first = np.asarray(walk.states[0].residual, np.float64) * 3
    walk.go(4)
    for i, state in enumerate(walk.states):
        np.testing.assert_allclose(state.scale, first * (0.7 / first) ** (i / 4), rtol=1e-5)


class TestDone:
    """`done`: solved with a code that stayed, at rest, or out of steps; nothing moves afterwards."""

    SETTINGS = Settings(steps=12, inner=4, first_scale=1.0, damping=1e-3)

    def test_solved_once_the_code_stays(self, subject):
        theta = draw_thetas(2)
        theta[1, -1] = 0.05
        images = images_at(subject, theta)
        start = theta.copy()
        start[0, :-BITS] += 0.1  # of the first image only the content is wrong, of the second a bit
        start[1, -1] *= -1
        walk = Walk(subject, images, start, self.SETTINGS)
        state = walk.go(1)
        assert (np.asarray(state.residual) < SOLVED).all()
        np.testing.assert_array_equal(state.done, [True, False])
        state = walk.go(2)
        np.testing.assert_array_equal(state.done, [True, True])
        np.testing.assert_array_equal(state.steps, [1, 2])
        np.testing.assert_array_equal(state.point[0], walk.states[1].point[0])
        np.testing.assert_array_equal(np.asarray(state.point)[:, -BITS:] > 0, theta[:, -BITS:] > 0)

    def test_still_where_nothing_explains_the_image(self, subject):
        images = np.random.default_rng(3).uniform(-0.5, 0.5, (2, 8, 8, 3)).astype(np.float32)
        state = Walk(subject, images, np.zeros((2, D)), self.SETTINGS).go(6)
        assert (np.asarray(state.residual) > 10 * SOLVED).all()
        assert np.asarray(state.done).all()
        # One step to the posterior mean, and two that change nothing: the scale is the first residual.
        assert (np.asarray(state.steps) <= 4).all()

    def test_near_with_a_code_that_is_written(self, subject):
        """Of two images with bits at their levels and at a fifth of them, only where that is asked for."""
        theta = draw_thetas(2)
        theta[1, -BITS:] *= 0.2
        start = theta.copy()
        start[:, :-BITS] += 0.5
        images = images_at(subject, theta)
        for near, expected in ((0.0, [False, False]), (1e6, [True, False])):
            settings = self.SETTINGS._replace(inner=1, near=near)
            state = Walk(subject, images, start, settings).go(1)
            assert (np.asarray(state.residual) > SOLVED).all()
            np.testing.assert_array_equal(state.done, expected)

    def test_out_of_steps(self, subject):
        images = np.random.default_rng(3).uniform(-0.5, 0.5, (2, 8, 8, 3)).astype(np.float32)
        walk = Walk(subject, images, np.zeros((2, D)), self.SETTINGS._replace(steps=2))
        assert not np.asarray(walk.go(1).done).any()
        assert np.asarray(walk.go(1).done).all()


def test_a_start_of_nan_is_done_at_once_and_harms_no_other(subject, images):
    theta, spoilt = np.zeros((5, D)), np.zeros((5, D))
    spoilt[2, 3] = np.nan
    settings = Settings(steps=3, inner=4)
    expected, walk = Walk(subject, images, theta, settings).go(3), Walk(subject, images, spoilt, settings)
    np.testing.assert_array_equal(walk.states[0].done, np.arange(5) == 2)
    found = walk.go(3)
    assert np.isnan(found.residual[2])
    assert found.steps[2] == 0
    assert np.isnan(found.point[2, 3])
    others = np.array([0, 1, 3, 4])
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one[others], other[others])


def test_a_rolled_step_takes_as_many_conjugate_gradients(subject, images):
    """And remembers them: far from the end, where every one counts."""
    walk = Walk(subject, images, np.zeros((5, D)), Settings(steps=12, inner=3, first_scale=1.0))
    start = jax.tree.map(jnp.copy, walk.states[0])
    rolled, plain = walk._step(start, rolled=True), walk.go(1)
    np.testing.assert_allclose(rolled.point, plain.point, atol=NEAR)
    np.testing.assert_allclose(rolled.memory.moves, plain.memory.moves, atol=NEAR)
    assert (np.abs(np.asarray(plain.memory.moves)).sum(axis=2) > 0).sum() == 5 * 3


def test_what_steps_have_seen_makes_the_next_ones_better(subject, images):
    """From a curvature that is right on average, a memory of all directions against one of the last alone."""
    sizes = subject.curvature().eigenvalues
    average = Curvature(jnp.full(D, jnp.mean(sizes)), jnp.eye(D), jnp.zeros(()))
    left = []
    for pairs in (1, D):
        settings = Settings(steps=6, inner=3, memory=pairs, first_scale=1.0, damping=1e-3)
        last = Walk(subject, images, np.zeros((5, D)), settings, curvature=average).go(4)
        left.append(np.asarray(last.residual))
    assert (left[1] < left[0]).all()


def test_pixels_of_nan_are_not_observed(subject, images):
    """Whatever they would hold, nothing changes; and what is left tells less."""
    theta, shown = np.zeros((5, D)), [images.copy() for _ in range(2)]
    hidden = np.random.default_rng(9).random(images.shape[:3]) < 0.3
    for i, value in enumerate((np.nan, 0.9)):
        shown[i][hidden] = value
    walk = Walk(subject, shown[0], theta, WHOLE)
    errors = np.asarray(walk.problem.errors).reshape(images.shape)
    assert np.isinf(errors[hidden]).all()
    assert np.isfinite(errors[~hidden]).all()
    last = walk.go(1)
    spoilt = Walk(subject, shown[1], theta, WHOLE).go(1)
    whole = Walk(subject, images, theta, WHOLE).go(1)
    away = [np.abs(np.asarray(it.point) - np.asarray(whole.point)).max() for it in (last, spoilt)]
    assert away[0] < away[1] / 5


def test_steps_never_raise_the_objective(subject):
    """Under a Jacobian that is four times too small steps go too far: they are refused, and damped more."""

    def understated(params, w):
        return subject.generator.synthesize(params, w / 4 + jax.lax.stop_gradient(w * 3 / 4))

    generator = subject.generator._replace(synthesize=understated)
    images = images_at(subject, draw_thetas(6))
    settings = Settings(steps=12, inner=6, first_scale=1.0, damping=1e-3)
    walk = Walk(subject, images, draw_thetas(6, seed=8), settings, generator=generator)
    walk.go(8)
    refused, taken = 0, 0
    for old, new in pairwise(walk.states):
        weight = 1 / np.maximum(old.scale, old.residual).astype(np.float64) ** 2
        before, after = (
            weight * np.sum(np.square(np.float64(walk.see(state.point) - walk.problem.targets)), axis=1)
            + np.sum(np.square(np.float64(state.point)), axis=1)
            for state in (old, new)
        )
        # The comparison is made in float32, of sums of 192 squares: 1e-6 of their value.
        assert (after <= before * (1 + 1e-5)).all()
        stayed = (np.asarray(old.point) == np.asarray(new.point)).all(axis=1)
        factor = np.asarray(new.damping) / np.asarray(old.damping)
        np.testing.assert_allclose(factor, np.where(stayed, 4, 1 / 4), rtol=1e-6)
        refused, taken = refused + stayed.sum(), taken + (~stayed).sum()
    assert refused >= 6
    assert taken >= 6


def test_passes_count_what_a_step_does():
    """One at the start; each step evaluates twice, and has inner + 1 products with Jᵀ and inner with J."""
    np.testing.assert_array_equal(refine.passes(np.array([0, 1, 3]), Settings(inner=5)), [1, 14, 40])
