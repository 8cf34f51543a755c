"""Predicted errors against what happens on a linear model, where first order is all there is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp import rng
from latentfp.fingerprint.basis import Basis, split, with_last
from latentfp.fingerprint.sensitivity import (
    Marking,
    bit_errors,
    code_deviations,
    information,
    jacobian,
    lone_deviations,
    visible_change,
)
from latentfp.generators import linear

D, SIZE, CODE = 24, 8, [3, 7, 10, 20, 21]


@pytest.fixture(scope="module")
def model():
    """What is seen of a linear generator's latents, its axes and their standard deviations."""
    made, params = linear.make(latent_dim=D, size=SIZE), linear.init(rng.root(0), latent_dim=D, size=SIZE)
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((D, D)))[0].astype(np.float32)
    mixing = np.random.default_rng(2).standard_normal((50, 3 * SIZE * SIZE)).astype(np.float32)

    def see(w):
        return made.synthesize(params, w).reshape(w.shape[0], -1) @ mixing.T  # 50 numbers of 192

    stds = np.linspace(2.0, 0.1, D).astype(np.float32)
    return see, jnp.asarray(turn), stds


@pytest.fixture(scope="module")
def errors():
    found = np.random.default_rng(3).uniform(0.5, 2, 50)
    found[40:] = np.inf  # ten numbers are not seen at all
    return found


@pytest.fixture(scope="module")
def known(model, errors):
    see, axes, _ = model
    return information(jacobian(see, jnp.zeros((1, D)), axes), errors)


def test_the_jacobian_is_the_matrix(model):
    see, axes, _ = model
    changes = jacobian(see, jnp.ones((2, D)), axes)
    exact = np.asarray(jax.vmap(lambda axis: (see((1 + axis)[None]) - see(jnp.ones((1, D))))[0])(axes)).T
    for each in changes:
        np.testing.assert_allclose(each, exact, atol=1e-4)  # differences of numbers of about 10 in float32


def test_bits_are_read_wrong_as_often_as_predicted(model, errors, known):
    """The best linear estimate of content and code from noisy observations, 40 000 times."""
    see, axes, stds = model
    marking = Marking(CODE, 1.2)
    draw, n = np.random.default_rng(4), 40_000
    matrix = jacobian(see, jnp.zeros((1, D)), axes)[0].astype(float) / errors[:, None]
    content = np.delete(np.arange(D), CODE)
    theta = stds * draw.standard_normal((n, D))
    bits = draw.integers(2, size=(n, len(CODE))) * 2 - 1
    theta[:, CODE] = marking.sigma / 2 * bits
    seen = theta @ matrix.T + draw.standard_normal((n, 50))
    prior = np.zeros(D)
    prior[content] = 1 / stds[content].astype(float) ** 2
    found = np.linalg.solve(matrix.T @ matrix + np.diag(prior), matrix.T @ seen.T).T[:, CODE]
    deviations = code_deviations(known, stds, CODE)[0]
    # Standard error of a standard deviation, 1 / √(2 n): five of them. J is float32, a part in 10^6.
    np.testing.assert_allclose((found - theta[:, CODE]).std(axis=0), deviations, rtol=0.018)
    predicted = bit_errors(known, stds, marking)[0]
    wrong = (np.sign(found) != bits).mean(axis=0)
    assert 0.05 < predicted.min() < 0.15 < 0.18 < predicted.max()
    np.testing.assert_allclose(wrong, predicted, atol=5 * 0.5 / n**0.5)


def test_a_code_of_one_bit_knows_the_other_axes_by_their_prior(model, known):
    _, _, stds = model
    alone = [code_deviations(known, stds, [axis])[0, 0] for axis in range(D)]
    np.testing.assert_allclose(lone_deviations(known, stds), alone, rtol=1e-6)


def test_more_axes_in_a_code_make_each_less_sure(model, known):
    _, _, stds = model
    few, many = code_deviations(known, stds, CODE), code_deviations(known, stds, [*CODE, 5, 6, 15])
    assert (many[:, : len(CODE)] > few).all()


def test_the_visible_change_is_that_of_marked_latents(model):
    see, axes, stds = model
    visible = np.square(jacobian(see, jnp.zeros((1, D)), axes)[0].astype(float)).sum(axis=0)
    draw, n = np.random.default_rng(5), 20_000
    moved = np.zeros((n, D))
    moved[:, CODE] = 0.5 * draw.choice([-1, 1], (n, len(CODE))) - stds[CODE] * draw.standard_normal((n, 5))
    change = np.asarray(see(jnp.asarray(moved, jnp.float32) @ axes) - see(jnp.zeros((1, D))))
    expected = visible_change(visible, stds, Marking(CODE, 1.0), values=50)
    # Squares of sums of nearly normal numbers: a standard error of √(2 / n), and less for 50 of them; five.
    np.testing.assert_allclose(np.square(change).mean(), expected, rtol=0.05)


def test_chosen_axes_come_last_and_nothing_is_lost():
    basis = Basis(jnp.zeros(4), jnp.eye(4), jnp.asarray([4.0, 3.0, 2.0, 1.0]))
    moved = with_last(basis, [2, 0])
    np.testing.assert_array_equal(moved.stds, [3, 1, 2, 4])
    np.testing.assert_array_equal(split(moved, shift=2, bits=2).code_axes, np.eye(4)[[2, 0]])
    for wrong in ([0, 0], [4], [-1]):
        with pytest.raises(ValueError, match="different ones"):
            with_last(basis, wrong)
