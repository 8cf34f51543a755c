"""Local information against the exact posterior of a linear generator, in float64."""

from functools import partial
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest
from linear_subject import UNKNOWN, draw_thetas, images_at, make_subject, posterior

from latentfp.attribution import information, refine
from latentfp.attribution.observation import UNDAMAGED
from latentfp.attribution.refine import Model
from latentfp.augment import damage

D, BITS, N = 24, 8, 3
SCALES = np.array([1.0, 7.0, 60.0], np.float32)
# float32: squares of 192 numbers, 1e-6, times the condition of the precision, below 500 at scale 1
NEAR = 1e-3


@pytest.fixture(scope="module")
def subject():
    return make_subject()


@pytest.fixture(scope="module")
def images(subject):
    return images_at(subject, draw_thetas(N))


@pytest.fixture(scope="module")
def variances(subject, images):
    """A function of the rank, and of the mean curvature that stands in for what is not looked at."""
    problem = refine.pose(UNDAMAGED, jnp.asarray(images), jnp.zeros((N, damage.SIZE)))
    point, scale = jnp.asarray(draw_thetas(N, seed=6)), jnp.asarray(SCALES)

    def run(rank, curvature=None):
        model = Model(subject.params, subject.whitened, curvature or subject.curvature())
        look = partial(information.code_variances, UNDAMAGED, subject.generator, model, problem, point)
        return np.asarray(look(scale, bits=BITS, rank=rank), np.float64)

    return run


def expected_variances(subject, images):
    return np.stack([np.diag(posterior(subject, images[:1], scale)[1])[-BITS:] for scale in SCALES])


@pytest.mark.parametrize("curvature", [None, UNKNOWN], ids=["exact", "unknown"])
def test_all_directions_give_the_exact_variances(subject, images, variances, curvature):
    """At full rank nothing stands in: the mean curvature only names the directions."""
    np.testing.assert_allclose(variances(D, curvature), expected_variances(subject, images), rtol=NEAR)


@pytest.mark.parametrize("rank", [1, 5, 17])
def test_an_exact_mean_curvature_stands_in_for_any_direction(subject, images, variances, rank):
    np.testing.assert_allclose(variances(rank), expected_variances(subject, images), rtol=NEAR)


def test_what_is_not_looked_at_and_not_known_keeps_its_prior(variances):
    """Variances lie between the posterior's and the prior's, and do not grow with the rank."""
    found = [variances(rank, UNKNOWN) for rank in (1, 8, 20, D)]
    assert (found[0] <= 1 + 1e-6).all()
    for few, more in pairwise(found):
        assert (more <= few * (1 + NEAR)).all()
    assert (found[-1] < 0.5).any()


def test_mean_variances_need_no_pass(subject, images):
    problem = refine.pose(UNDAMAGED, jnp.asarray(images), jnp.zeros((N, damage.SIZE)))
    model = Model(subject.params, subject.whitened, subject.curvature())
    found = information.mean_variances(model, problem, jnp.asarray(SCALES), bits=BITS)
    np.testing.assert_allclose(found, expected_variances(subject, images), rtol=NEAR)


def test_soft_bits_are_the_log_likelihood_ratios_of_two_normals():
    """log p(y | +1) - log p(y | -1) of a measurement y, from posterior mean and variance under N(0, 1)."""
    y, noise = np.array([[0.3, -1.2, 0.9]]), np.array([[0.5, 2.0, 0.1]])
    mean, variance = y / (1 + noise), noise / (1 + noise)
    expected = (-((y - 1) ** 2) + (y + 1) ** 2) / (2 * noise)
    found = information.soft_bits(jnp.asarray(mean, jnp.float32), jnp.asarray(variance, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
