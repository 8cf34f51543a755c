"""Clopper-Pearson against its definition: sums of binomial probabilities in float64."""

import math

import pytest

from latentfp.studies.statistics import binomial_interval

CASES = [(0, 1), (1, 1), (0, 20), (1, 20), (7, 20), (19, 20), (20, 20), (50, 100), (3, 400)]


def chance(k: int, n: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


@pytest.mark.parametrize(("k", "n"), CASES)
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_each_tail_at_its_end_is_half_of_what_is_left(k, n, confidence):
    low, high = binomial_interval(k, n, confidence=confidence)
    tail = (1 - confidence) / 2
    # sums of at most 400 float64 terms, and an inverse of the incomplete beta function good to about 1e-12
    if k > 0:
        assert sum(chance(i, n, low) for i in range(k, n + 1)) == pytest.approx(tail, rel=1e-8)
    if k < n:
        assert sum(chance(i, n, high) for i in range(k + 1)) == pytest.approx(tail, rel=1e-8)


@pytest.mark.parametrize("n", [1, 5, 30])
def test_it_covers_every_rate_often_enough(n):
    intervals = [binomial_interval(k, n) for k in range(n + 1)]
    for p in (0.0, 0.01, 0.2, 0.5, 0.77, 0.99, 1.0):
        assert sum(chance(k, n, p) for k, (low, high) in enumerate(intervals) if low <= p <= high) >= 0.95


def test_ends():
    assert binomial_interval(0, 9)[0] == 0
    assert binomial_interval(9, 9)[1] == 1
    assert binomial_interval(0, 0) == (0, 1)
    assert binomial_interval(0, 18)[1] == pytest.approx(1 - 0.025 ** (1 / 18), rel=1e-12)


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, -1)])
def test_impossible_counts(k, n):
    with pytest.raises(ValueError, match="expected at least 0, at most all"):
        binomial_interval(k, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_impossible_confidence(confidence):
    with pytest.raises(ValueError, match="outside"):
        binomial_interval(1, 2, confidence=confidence)
