"""Chances of scores against counting all codes, and against what they promise."""

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy.special import expit

from latentfp.attribution.evidence import (
    LIMIT,
    STEP,
    chance,
    log10_ratios,
    log_likelihoods,
    miss_p_value,
    score,
    soften,
    support,
    tempered,
)


def every_code(k):
    return np.array(list(itertools.product([-1, 1], repeat=k)))


@pytest.fixture
def soft():
    """Soft bits of twelve images with eight bits, ties and undecided ones among them."""
    return np.random.default_rng(1).integers(-5, 6, (12, 8)).astype(np.int8)


@pytest.fixture
def scores(soft):
    return (soft.astype(int) * np.random.default_rng(2).choice([-1, 1], soft.shape)).sum(axis=1)


def test_chances_are_those_of_all_codes(soft, scores):
    everyones = every_code(8) @ soft.T.astype(int)
    np.testing.assert_allclose(chance(soft, scores), (everyones >= scores).mean(axis=0), rtol=1e-12)


def test_shortfalls_are_those_of_all_codes(soft, scores):
    codes = every_code(8)
    weights = expit(STEP * codes[:, None] * soft[None].astype(int)).prod(axis=2)
    low = codes @ soft.T.astype(int) <= scores
    np.testing.assert_allclose(miss_p_value(soft, scores), (weights * low).sum(axis=0), rtol=1e-9, atol=1e-12)


def test_divided_ratios_are_less_sure(soft, scores):
    codes, divisors = every_code(8), np.maximum(1, np.linspace(0, 3, 12) ** 2)
    ratios = STEP * codes[:, None] * soft[None].astype(int) / divisors[:, None]
    weights = expit(ratios).prod(axis=2)
    low = codes @ soft.T.astype(int) <= scores
    found = miss_p_value(soft, scores, divisors)
    np.testing.assert_allclose(found, (weights * low).sum(axis=0), rtol=1e-9, atol=1e-12)
    every = [score(soft, np.tile(code > 0, (12, 1))) for code in codes]
    everyones = np.stack([log_likelihoods(soft, s, divisors) for s in every])
    np.testing.assert_allclose(everyones, np.log(weights), rtol=1e-9)


def test_tempered_ratios_are_whole_steps_of_the_divided_ones():
    soft = np.array([[24, -24, 5, 0], [24, -8, 1, -1]], np.int8)
    found = tempered(soft, np.array([1.0, 4.0]))
    assert found.tolist() == [[24, -24, 5, 0], [6, -2, 0, 0]]
    assert not tempered(soft, np.array([np.inf, np.inf])).any()


def test_likelihood_ratios_of_fair_codes_have_the_mean_1(soft):
    """Whatever the ratios and what they are divided by: so a large one is as rare as its inverse."""
    divisors = np.linspace(1, 9, 12)
    every = [score(soft, np.tile(code > 0, (12, 1))) for code in every_code(8)]
    alone = np.array([10 ** log10_ratios(soft, s, divisors, users=1, factor=1.0) for s in every])
    np.testing.assert_allclose(alone.mean(axis=0), 1, rtol=1e-12)
    among = 10 ** log10_ratios(soft, every[0], divisors, users=20, factor=3.0)
    np.testing.assert_allclose(among, alone[0] / 60, rtol=1e-12)


@pytest.mark.parametrize(
    ("log10_ratio", "words"),
    [
        (0.0, "no support either way"),
        (0.3, "no support either way"),
        (0.302, "weak support"),
        (1.0, "moderate support"),
        (2.5, "moderately strong support"),
        (3.0, "strong support"),
        (5.9, "very strong support"),
        (6.0, "extremely strong support"),
        (-0.2, "no support either way"),
        (-1.0, "moderate support against"),
        (-7.0, "extremely strong support against"),
    ],
)
def test_support_is_said_in_the_words_of_forensic_reports(log10_ratio, words):
    assert support(log10_ratio) == words


@pytest.mark.parametrize("wrong", [0, 5, 32, 64])
def test_equally_sure_bits_are_counted(wrong):
    soft = np.full((1, 64), -7, np.int8)
    exact = Fraction(sum(comb(64, m) for m in range(wrong + 1)), 2**64)
    np.testing.assert_allclose(chance(soft, np.array([7 * (64 - 2 * wrong)])), float(exact), rtol=1e-12)


def test_log_likelihoods_are_sums_over_bits(soft):
    code = np.random.default_rng(3).choice([-1, 1], soft.shape)
    signed = STEP * code * soft
    np.testing.assert_allclose(
        log_likelihoods(soft, (code * soft).sum(axis=1)), np.log(expit(signed)).sum(axis=1), rtol=1e-12
    )


def test_unsure_wrong_bits_weigh_less():
    logits = np.full((2, 64), 5.0)
    logits[0, :8], logits[1, :8] = 0.25, 5.0
    soft = soften(logits)
    without = soft[:, 8:].astype(int).sum(axis=1) - soft[:, :8].astype(int).sum(axis=1)
    unsure, sure = chance(soft, without)
    assert unsure < 1e-3 * sure


def test_ratios_are_limited_and_rounded():
    assert soften(np.array([[100.0, -100.0, 0.12, -0.13, np.inf]])).tolist() == [
        [LIMIT / STEP, -LIMIT / STEP, 0, -1, LIMIT / STEP]
    ]


def test_repeated_bits_add_up():
    assert soften(np.array([[1.0, 0.5, -1.0, 0.25]]), repeats=2).tolist() == [[6, -3]]


@pytest.mark.parametrize("likeness", [0.0, 0.9])
def test_random_codes_reach_a_score_as_often_as_it_says(likeness):
    """For any image: here bits that are biased and depend on each other, as those of photographs may."""
    rng = np.random.default_rng(4)
    image = np.where(rng.random((1, 64)) < likeness, rng.normal(size=(2000, 1)), rng.normal(size=(2000, 64)))
    soft = soften(3 * image + 1)
    codes = rng.choice([-1, 1], soft.shape)
    p = chance(soft, (codes * soft.astype(int)).sum(axis=1))
    for alpha in (0.5, 0.1, 0.01):
        # At most alpha of 2000, and five standard errors more.
        assert (p <= alpha).sum() <= 2000 * alpha + 5 * (2000 * alpha * (1 - alpha)) ** 0.5
    assert (p <= 0.1).sum() > 50
