"""Calibration against sums by hand."""

import numpy as np
import pytest

from latentfp.studies.calibration import (
    BINS,
    brier_score,
    expected_calibration_error,
    pooled,
    reliability,
    summary,
)


def logits_of(*p):
    p = np.array([p])
    return np.log(p / (1 - p)).astype(np.float32)


def test_by_hand():
    """Confidences .8 (right), .8 (wrong), .6 (right): errors .3 over two bits and .4 over one."""
    found = reliability(logits_of(0.8, 0.2, 0.6), np.array([[True, True, True]]))
    assert sum(found.bits) == 3
    assert sum(found.right) == 2
    # float32 logits: seven digits
    assert expected_calibration_error(found) == pytest.approx((2 * 0.3 + 0.4) / 3, rel=1e-6)
    assert brier_score(found) == pytest.approx((0.2**2 + 0.8**2 + 0.4**2) / 3, rel=1e-6)


def test_bins_divide_the_confidences_evenly():
    middles = 0.5 + (np.arange(BINS) + 0.5) / (2 * BINS)
    found = reliability(logits_of(*middles), np.ones((1, BINS), bool))
    assert found.bits == found.right == [1] * BINS
    np.testing.assert_allclose(found.confidence, middles, rtol=1e-6)


def test_certain_and_undecided_bits_have_a_bin():
    found = reliability(np.array([[1e4, -1e4, 0.0]], np.float32), np.array([[True, True, False]]))
    assert (found.bits[0], found.bits[-1]) == (1, 2)
    assert (found.right[0], found.right[-1]) == (1, 1)
    assert brier_score(found) == pytest.approx((0 + 1 + 0.25) / 3)


def test_calibrated_bits_have_a_small_error():
    """10 000 bits with the stated chances; each bin's share is within five standard deviations, 0.1."""
    random = np.random.default_rng(0)
    p = random.uniform(0.01, 0.99, (100, 100))
    codes = random.random(p.shape) < p
    logits = np.log(p / (1 - p))
    assert expected_calibration_error(reliability(logits, codes)) < 0.02
    assert expected_calibration_error(reliability(3 * logits, codes)) > 0.1  # overconfident


def test_pools_are_as_if_measured_at_once():
    random = np.random.default_rng(1)
    logits, codes = random.normal(size=(6, 16)), random.random((6, 16)) < 0.5
    parts = [reliability(logits[rows], codes[rows]) for rows in (slice(2), slice(2, 6))]
    together, whole = summary(pooled(parts)), summary(reliability(logits, codes))
    assert (together.bits, together.right) == (whole.bits, whole.right)
    assert together.brier == pytest.approx(whole.brier)
    assert together.expected_calibration_error == pytest.approx(whole.expected_calibration_error)
