"""Calibration against sums by hand."""

import numpy as np
import pytest

from latentfp.studies.statistics import BINS, calibration, reliability


def logits_of(*p):
    p = np.array([p])
    return np.log(p / (1 - p)).astype(np.float32)


def test_by_hand():
    """Confidences .8 (right), .8 (wrong), .6 (right): errors .3 over two bits and .4 over one."""
    found = calibration([reliability(logits_of(0.8, 0.2, 0.6), np.array([[True, True, True]]))])
    assert sum(found["bits"]) == 3
    assert sum(found["right"]) == 2
    # float32 logits: seven digits
    assert found["expected_calibration_error"] == pytest.approx((2 * 0.3 + 0.4) / 3, rel=1e-6)
    assert found["brier"] == pytest.approx((0.2**2 + 0.8**2 + 0.4**2) / 3, rel=1e-6)


def test_bins_divide_the_confidences_evenly():
    middles = 0.5 + (np.arange(BINS) + 0.5) / (2 * BINS)
    found = reliability(logits_of(*middles), np.ones((1, BINS), bool))
    assert found.bits == found.right == [1] * BINS
    np.testing.assert_allclose(found.confidence, middles, rtol=1e-6)


def test_certain_and_undecided_bits_have_a_bin():
    found = reliability(np.array([[1e4, -1e4, 0.0]], np.float32), np.array([[True, True, False]]))
    assert (found.bits[0], found.bits[-1]) == (1, 2)
    assert (found.right[0], found.right[-1]) == (1, 1)
    assert calibration([found])["brier"] == pytest.approx((0 + 1 + 0.25) / 3)


def test_calibrated_bits_have_a_small_error():
    """10 000 bits with the stated chances; each bin's share is within five standard deviations, 0.1."""
    random = np.random.default_rng(0)
    p = random.uniform(0.01, 0.99, (100, 100))
    codes = random.random(p.shape) < p
    logits = np.log(p / (1 - p))
    calm, overconfident = (calibration([reliability(x, codes)]) for x in (logits, 3 * logits))
    assert calm["expected_calibration_error"] < 0.02
    assert overconfident["expected_calibration_error"] > 0.1


def test_pools_are_as_if_measured_at_once():
    random = np.random.default_rng(1)
    logits, codes = random.normal(size=(6, 16)), random.random((6, 16)) < 0.5
    parts = [reliability(logits[rows], codes[rows]) for rows in (slice(2), slice(2, 6))]
    together, whole = calibration(parts), calibration([reliability(logits, codes)])
    for bins in ("bits", "right"):
        assert together[bins] == whole[bins]
    for score in ("brier", "expected_calibration_error"):
        assert together[score] == pytest.approx(whole[score])
