"""Tracing of colluders whose levels are known: guilty found, innocents accused as seldom as promised."""

import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.attribution.estimate import Estimate, Status
from latentfp.attribution.ranking import among
from latentfp.attribution.tracing import FULL, levels_of, suspects, traced, weights

BITS = 64


def fair(random, n, bits=BITS):
    return random.integers(2, size=(n, bits)).astype(bool)


def test_weights_are_mean_levels_within_their_limits():
    levels = np.array([[0.5, 2.0, -3.0, 0.0], [1.0, 2.0, 1.0, 0.2]])
    np.testing.assert_array_equal(weights(levels), [[0.75 * FULL, FULL, -FULL, round(0.1 * FULL)]])
    np.testing.assert_array_equal(weights(levels, repeats=2), [[FULL, round(-0.45 * FULL)]])


def test_failed_images_weigh_nothing():
    ok, failed = int(Status.OK), int(Status.NONFINITE)
    estimate = Estimate(
        jnp.zeros((2, 3), bool), jnp.ones((2, 3)), jnp.ones((2, 1)), jnp.ones(2), jnp.asarray([ok, failed]),
        jnp.ones((2, 3)),
    )  # fmt: skip
    np.testing.assert_array_equal(levels_of(estimate), [[1, 1, 1], [0, 0, 0]])


@pytest.mark.parametrize(("k", "bits"), [(2, 64), (3, 256), (8, 1024)])
def test_colluders_who_average_are_all_accused(k, bits):
    """√(bits / k) is 5.7, 9.2 and 11.3: the first has 32 bits in common, to be sure."""
    random = np.random.default_rng(k)
    codes = fair(random, 500, bits)
    if k == 2:
        codes[1] = codes[0]
        codes[1, ::2] ^= True
    levels = 2 * codes[:k].mean(axis=0)[None] - 1
    (ranked,) = suspects(weights(levels), among(codes))
    assert {one.user for one in traced(ranked, alpha=1e-6)} == set(range(k))
    assert [one.p_value for one in ranked] == sorted(one.p_value for one in ranked)


def test_the_p_value_of_two_users_is_that_of_the_bits_that_they_share():
    random = np.random.default_rng(0)
    codes = fair(random, 100)
    codes[1] = codes[0]
    codes[1, 30:] ^= True
    (ranked,) = suspects(weights(2 * codes[:2].mean(axis=0)[None] - 1.0), among(codes))
    expected = -np.expm1(100 * np.log1p(-(0.5**30)))
    np.testing.assert_allclose([ranked[0].p_value, ranked[1].p_value], expected, rtol=1e-9)
    (paid,) = suspects(weights(2 * codes[:2].mean(axis=0)[None] - 1.0), among(codes, bonferroni=3.0))
    np.testing.assert_allclose(paid[0].p_value / ranked[0].p_value, 3, rtol=1e-6)


@pytest.mark.slow
def test_innocents_are_accused_no_more_often_than_promised():
    """2000 registries of 40 innocents, against levels that are as uneven as they like."""
    random, trials = np.random.default_rng(1), 2000
    biased = np.clip(0.8 + random.normal(0, 0.5, BITS) * (np.arange(BITS) % 3), -1, 1)
    soft = weights(biased[None])
    ranked = [suspects(soft, among(fair(random, 40)))[0] for _ in range(trials)]
    for alpha in (0.1, 0.01):
        accused = sum(bool(traced(some, alpha=alpha)) for some in ranked)
        # Exact but for equal scores, so near the promise from below: four standard errors.
        error = 4 * (alpha * (1 - alpha) / trials) ** 0.5
        assert 0.5 * alpha - error < accused / trials < alpha + error
