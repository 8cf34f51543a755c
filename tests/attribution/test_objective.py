from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp import rng
from latentfp.attribution.reference import Point, Problem, objective
from latentfp.fingerprint.basis import fit_basis, split
from latentfp.generators import linear

DIM, BITS, SIGMA, PENALTY = 12, 4, 0.8, 0.1


def mean_square(target, image):
    return jnp.mean((target - image) ** 2)


def losses_in_float64(params, space, targets, alpha, kappa, offset):
    """The objective for the linear generator with gain 1/2 and the mean square."""
    matrix, shift, mean, u, s, v = (
        np.asarray(x, np.float64)
        for x in (
            params["matrix"],
            params["offset"],
            space.mean,
            space.content_axes,
            space.content_stds,
            space.code_axes,
        )
    )
    w = mean + alpha @ u + SIGMA * (1 / (1 + np.exp(-kappa)) - offset) @ v
    images = 0.5 * w @ matrix.T + shift
    squares = (images - np.asarray(targets, np.float64).reshape(len(targets), 1, -1)) ** 2
    return squares.mean(axis=-1) + PENALTY * np.maximum(np.abs(alpha) - 3 * s, 0).sum(axis=-1)


@pytest.fixture(scope="module")
def generator():
    return linear.make(latent_dim=DIM, size=4)


@pytest.fixture(scope="module")
def params():
    return linear.init(rng.root(1), latent_dim=DIM, size=4)


@pytest.fixture(scope="module")
def space():
    return split(fit_basis(np.random.default_rng(1).standard_normal((100, DIM)) + 0.3), shift=5, bits=BITS)


@pytest.fixture(scope="module")
def arrays():
    """Targets [2 h w 3], and alpha, kappa of three starts, the first far beyond three deviations."""
    random = np.random.default_rng(2)
    alpha = random.standard_normal((2, 3, DIM - BITS))
    alpha[:, 0] *= 5
    return random.standard_normal((2, 4, 4, 3)), alpha, 2 * random.standard_normal((2, 3, BITS))


@pytest.fixture(scope="module", params=[0.0, 0.5])
def losses(request, generator, params, space, arrays):
    """Our losses and their oracle, as functions of alpha and kappa, for both offsets."""
    problem = Problem(params, space, jax.tree_util.Partial(mean_square), SIGMA, request.param, PENALTY)
    ours = partial(objective, generator.synthesize, problem, jnp.asarray(arrays[0], jnp.float32))
    return ours, partial(losses_in_float64, params, space, arrays[0], offset=request.param)


def test_losses_are_the_formula(losses, arrays):
    ours, oracle = losses
    point = Point(*(jnp.asarray(x, jnp.float32) for x in arrays[1:]))
    assert (oracle(*arrays[1:])[:, 0] > 1).all()
    np.testing.assert_allclose(ours(point), oracle(*arrays[1:]), rtol=1e-5)


def test_gradients_are_finite_differences(losses, arrays):
    ours, oracle = losses
    point = Point(*(jnp.asarray(x, jnp.float32) for x in arrays[1:]))
    gradient = jax.grad(lambda point: ours(point).sum())(point)
    step = 1e-6
    for part, slope in enumerate(gradient):
        for start in range(3):
            for axis in range(slope.shape[-1]):
                ends = []
                for sign in (1, -1):
                    moved = [x.copy() for x in arrays[1:]]
                    moved[part][:, start, axis] += sign * step
                    ends.append(oracle(*moved)[:, start])
                # A central difference errs by step² and by 1e-16 / step: both far below float32's own 1e-6.
                np.testing.assert_allclose(slope[:, start, axis], (ends[0] - ends[1]) / (2 * step), atol=2e-6)
