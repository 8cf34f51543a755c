"""Whether bit confidences mean what they say.

A bit with logit l is estimated with confidence c = max(p, 1 - p), p = 1 / (1 + exp(-l)). Bins of equal width
divide the confidences [1/2, 1]; with n_i bits, mean confidence c_i and a share a_i of right bits in bin i,

    expected calibration error = Σ_i n_i |a_i - c_i| / Σ_i n_i,     Brier score = mean (p - b)².

Sums, not means, are kept, so that measurements can be pooled.
Source: Guo et al. 2017 (arXiv 1706.04599); Brier (1950).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

BINS = 15


class Reliability(NamedTuple):
    """Of each bin how many bits, how many of them right, and the sum of their confidences.

    `squared_error`: the sum of (p - b)² over all bits.
    """

    bits: list[int]
    right: list[int]
    confidence: list[float]
    squared_error: float


class Summary(NamedTuple):
    """Scores in [0, 1], and of each bin the bits, those right, and the sum of their confidences."""

    expected_calibration_error: float
    brier: float
    bits: list[int]
    right: list[int]
    confidence: list[float]


def reliability(logits: Float[np.ndarray, "n k"], codes: Bool[np.ndarray, "n k"]) -> Reliability:
    """The bins of estimated bits whose true values are `codes`."""
    p = expit(logits.astype(np.float64)).ravel()
    confidence = np.maximum(p, 1 - p)
    right = ((logits > 0) == codes).ravel()
    place = np.minimum(((confidence - 0.5) * 2 * BINS).astype(int), BINS - 1)
    return Reliability(
        bits=np.bincount(place, minlength=BINS).tolist(),
        right=np.bincount(place, right, minlength=BINS).astype(int).tolist(),
        confidence=np.bincount(place, confidence, minlength=BINS).tolist(),
        squared_error=float(np.square(p - codes.ravel()).sum()),
    )


def pooled(parts: Sequence[Reliability]) -> Reliability:
    """The bins of all parts together."""
    bits, right, confidence = (
        np.sum([part[i] for part in parts], axis=0).tolist() for i in range(len(Reliability._fields) - 1)
    )
    return Reliability(bits, right, confidence, sum(part.squared_error for part in parts))


def expected_calibration_error(found: Reliability) -> float:
    """Between 0 and 1/2 for a method that is right at least half of the time, at most 1."""
    gaps = np.abs(np.array(found.right, float) - np.array(found.confidence))
    return float(gaps.sum() / sum(found.bits))


def brier_score(found: Reliability) -> float:
    """Between 0 and 1; 1/4 for undecided bits."""
    return found.squared_error / sum(found.bits)


def summary(found: Reliability) -> Summary:
    """Both scores and the bins, as a study reports them."""
    return Summary(expected_calibration_error(found), brier_score(found), *found[:3])
