"""Damped Gauss–Newton on a linear generator, whose best answer is known in closed form, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import BITS, SIZE, D, jacobian, linear_space

from latentfp import rng
from latentfp.attribution import refine
from latentfp.attribution.estimate import Status
from latentfp.attribution.refine import SOLVED, Record, Settings, conjugate_gradients, refine_images
from latentfp.attribution.whitening import render, whiten
from latentfp.fingerprint.embed import Coding
from latentfp.pixels import to_float, to_pixels

SETTINGS = Settings(starts=2, batch=4, probes=256)
# A step is taken if it lowers the objective, which is about 200 with a float32 spacing of 1.5e-5. Steps that
# are lost in that rounding are shorter than sqrt(4e-5 / curvature), and the smallest curvature is above 50.
NEAR = 1e-3


@pytest.fixture(scope="module")
def world():
    """Generator, parameters, whitened space, and five coded images read back from 8 bits with their theta."""
    key = jax.random.key(11)
    generator, params, space = linear_space(key)
    white = whiten(
        generator,
        params,
        space,
        rng.stream(key, "whiten"),
        sigma=1.0,
        coding=Coding.ANTIPODAL,
        batch=SETTINGS.batch,
        probes=SETTINGS.probes,
    )
    random = np.random.default_rng(5)
    theta = random.normal(size=(5, D)).astype(np.float32)
    theta[:, -BITS:] = np.sign(theta[:, -BITS:])
    flat = render(generator, params, white, jnp.asarray(theta))
    images = np.array(to_float(to_pixels(flat.reshape(-1, SIZE, SIZE, 3))))
    return generator, params, white, images, theta


def search(world, images, *, settings=SETTINGS, **options):
    generator, params, white, _, _ = world
    key = rng.root(1)
    return refine_images(generator, params, white, images, bits=BITS, key=key, settings=settings, **options)


def posterior(world, images, noise):
    """Mean and variances of theta given the images, in float64."""
    params, white = world[1:3]
    j = jacobian(params, white)
    origin = np.asarray(params["offset"], np.float64) + 0.5 * (
        np.asarray(params["matrix"], np.float64) @ np.asarray(white.origin, np.float64)
    )
    covariance = np.linalg.inv(j.T @ j / noise**2 + np.eye(D))
    residual = np.asarray(images, np.float64).reshape(len(images), -1) - origin
    return residual @ j @ covariance / noise**2, np.diag(covariance)


def test_every_code_is_found(world):
    images, theta = world[3:]
    estimate, starts = search(world, images)
    np.testing.assert_array_equal(estimate.code, theta[:, -BITS:] > 0)
    assert (np.asarray(estimate.status) == Status.OK).all()
    assert (np.asarray(estimate.loss) < SOLVED).all()
    # The residual of rounding needs no second start; the fifth image gets one to fill its batch.
    np.testing.assert_array_equal(starts, [1, 1, 1, 1, 2])


def test_the_end_is_the_maximum_a_posteriori_at_the_last_noise(world):
    white, images = world[2:4]
    estimate, _ = search(world, images)
    expected, variances = posterior(world, images, SETTINGS.last_noise)
    stds = np.linalg.norm(np.asarray(white.rows, np.float64), axis=1)
    np.testing.assert_allclose(estimate.content, expected[:, :-BITS] * stds[:-BITS], atol=NEAR)
    # logits = 2 theta / v, with v from probes: compare theta alone, up to one factor for each bit
    logits = np.asarray(estimate.logits, np.float64)
    factor = logits / expected[:, -BITS:]
    np.testing.assert_allclose(factor, np.broadcast_to(factor[:1], factor.shape), rtol=2 * NEAR)
    # and v itself: 256 probes know a variance to about 1/16, four deviations
    np.testing.assert_allclose(2 / factor[0], variances[-BITS:], rtol=0.25)


def test_damage_raises_the_noise_to_the_residual(world):
    white, images = world[2:4]
    damaged = images + np.random.default_rng(6).normal(size=images.shape).astype(np.float32) * 0.05
    estimate, _ = search(world, damaged, settings=SETTINGS._replace(starts=1))
    rms = np.asarray(estimate.loss, np.float64)
    assert (rms > 0.04).all()
    stds = np.linalg.norm(np.asarray(white.rows, np.float64), axis=1)
    for row, noise in enumerate(rms):
        expected, _ = posterior(world, damaged[row : row + 1], noise)
        found = np.asarray(estimate.content)[row] / stds[:-BITS]
        np.testing.assert_allclose(found, expected[0, :-BITS], atol=10 * NEAR)


def test_batches_and_company_change_nothing(world):
    """Image i of the stream is the same alone, in company, and in batches of another size."""
    images = world[3]
    damaged = images + np.random.default_rng(7).normal(size=images.shape).astype(np.float32) * 0.02
    together, starts = search(world, damaged)
    alone, few = search(world, damaged[3:], first_image=3)
    apart, same = search(world, damaged, settings=SETTINGS._replace(batch=2))
    for part, rows in ((alone, slice(3, 5)), (apart, slice(0, 5))):
        np.testing.assert_array_equal(part.code, together.code[rows])
        np.testing.assert_allclose(part.content, together.content[rows], atol=10 * NEAR)
    np.testing.assert_array_equal(starts, same)
    np.testing.assert_array_equal(starts[3:], few)


def test_an_image_of_nan_fails_alone(world):
    images = world[3].copy()
    expected, _ = search(world, images)
    images[2, 0, 0, 0] = np.nan
    estimate, _ = search(world, images)
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(estimate.status, np.where(np.arange(5) == 2, Status.NONFINITE, Status.OK))
    np.testing.assert_array_equal(np.asarray(estimate.code)[others], np.asarray(expected.code)[others])
    np.testing.assert_allclose(
        np.asarray(estimate.content)[others], np.asarray(expected.content)[others], atol=NEAR
    )
    assert np.isfinite(np.asarray(estimate.logits)).all()


def test_progress_hears_all_steps_also_of_needless_starts(world):
    heard = []
    search(world, world[3], progress=heard.append)
    assert sum(heard) == 5 * SETTINGS.starts * SETTINGS.steps


def systems(rows=3, d=6):
    """Random positive definite matrices of condition below 10, and right sides."""
    random = np.random.default_rng(8)
    q = np.linalg.qr(random.normal(size=(rows, d, d)))[0]
    matrices = q * random.uniform(1, 10, size=(rows, 1, d)) @ np.swapaxes(q, 1, 2)
    return matrices, random.normal(size=(rows, d))


@pytest.mark.parametrize("preconditioned", [False, True])
def test_conjugate_gradients_solve_in_as_many_steps_as_dimensions(preconditioned):
    matrices, right = systems()
    diagonal = np.einsum("rii->ri", matrices) if preconditioned else np.ones_like(right)
    found = conjugate_gradients(
        lambda x: jnp.einsum("rij,rj->ri", jnp.asarray(matrices, jnp.float32), x),
        lambda x: x / jnp.asarray(diagonal, jnp.float32),
        jnp.asarray(right, jnp.float32),
        steps=right.shape[1],
    )
    expected = np.linalg.solve(matrices, right[..., None])[..., 0]
    # float32 rounding 6e-8 times the condition 10, lost orthogonality over 6 steps: below 1e-4 of the largest
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_conjugate_gradients_stay_at_a_solution():
    """A solved row, by a zero right side or an exact preconditioner, is left as it is: no 0 / 0."""
    right = jnp.asarray([[0.0, 0.0], [3.0, -1.0]])
    found = conjugate_gradients(lambda x: 2 * x, lambda x: x / 2, right, steps=5)
    np.testing.assert_array_equal(found, right / 2)


def test_a_step_that_raises_the_objective_is_not_taken(world):
    """At the optimum of a noiseless image every step is refused or harmless: the residual does not grow."""
    generator, params, white, _, theta = world
    some = jnp.asarray(theta[:4])
    targets = render(generator, params, white, some)
    state = refine.State(some, jnp.full(4, 0.1), jnp.zeros(4))
    moved = refine.step(generator, params, white, targets, state, jnp.asarray(1e-3), inner=2)
    assert (np.asarray(moved.rms) <= 1e-3).all()
    assert ((np.asarray(moved.damping) == np.float32(0.1) * 4) | (np.asarray(moved.damping) < 0.1)).all()


class TestRecord:
    def test_settles_at_the_residual_of_rounding(self):
        record = Record(2, 4, bits=2)
        record.add(0, np.ones(4), 0.9 * SOLVED, pixels=10)
        record.add(1, np.ones(4), 1.1 * SOLVED, pixels=10)
        assert record.settled.tolist() == [True, False]

    def test_settles_when_two_starts_agree_in_the_code(self):
        record = Record(2, 4, bits=2)
        for row, second in enumerate(([5, 5, 2, -2], [1, 1, 1, 1])):
            record.add(row, np.array([1, 1, 1, -1]), 0.1, pixels=10)
            record.add(row, np.array(second), 0.1, pixels=10)
        assert record.settled.tolist() == [True, False]

    def test_one_start_agrees_with_nothing(self):
        record = Record(1, 4, bits=2)
        record.add(0, np.full(4, -1), 0.1, pixels=10)
        assert not record.settled.any()

    def test_keeps_the_start_of_the_lowest_objective(self):
        record = Record(1, 4, bits=2)
        for rms, theta in ((0.2, 1), (0.1, 2), (0.1, 3), (np.nan, 4)):
            record.add(0, np.full(4, theta), rms, pixels=100)
        assert (record.theta[0] == 2).all()
        assert record.rms[0] == 0.1
        assert record.starts[0] == 4
