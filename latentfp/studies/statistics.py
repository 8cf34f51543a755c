"""What studies count: shares with exact intervals, right bits, and whether confidences mean what they say.

Binomial intervals are those of Clopper and Pearson (1934): with k successes in n trials, [lo, hi] holds every
rate p for which neither P[Bin(n, p) >= k] nor P[Bin(n, p) <= k] is below (1 - confidence) / 2. So they are
never too short, whatever the true rate.

A bit with logit l is estimated with confidence c = max(p, 1 - p), p = 1 / (1 + exp(-l)). Bins of equal width
divide the confidences [1/2, 1]; with n_i bits, mean confidence c_i and a share a_i of right bits in bin i,

    expected calibration error = Σ_i n_i |a_i - c_i| / Σ_i n_i,     Brier score = mean (p - b)².

Sums, not means, are kept, so that measurements can be pooled.
Source: Guo et al. 2017 (arXiv 1706.04599); Brier (1950).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import betaincinv, expit

BINS = 15


def binomial_interval(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The interval [lo, hi] within [0, 1] for a rate of which `trials` showed `successes`.

    No trials say nothing: (0, 1). ValueError for more successes than trials and a confidence outside (0, 1).
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"got {successes} successes in {trials} trials, expected at least 0, at most all")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is outside (0, 1): 0.95 is usual")
    tail = (1 - confidence) / 2
    failures = trials - successes
    low = betaincinv(successes, failures + 1, tail) if successes else 0.0
    high = betaincinv(successes + 1, failures, 1 - tail) if failures else 1.0
    return float(low), float(high)


class Accuracy(NamedTuple):
    """`all_bits` of `images` have every bit right; `interval`: the exact 95 % one of that share."""

    images: int
    bit_accuracy: float
    all_bits: int
    interval: tuple[float, float]


def accuracy_of(wrong: list[int], *, bits: int) -> Accuracy:
    """The accuracy of images with so many wrong bits each."""
    complete = wrong.count(0)
    share = 1 - float(np.mean(wrong)) / bits
    return Accuracy(len(wrong), share, complete, binomial_interval(complete, len(wrong)))


class Reliability(NamedTuple):
    """Of each bin how many bits, how many of them right, and the sum of their confidences.

    `squared_error`: the sum of (p - b)² over all bits.
    """

    bits: list[int]
    right: list[int]
    confidence: list[float]
    squared_error: float


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


def calibration(parts: Sequence[Reliability]) -> dict[str, Any]:
    """Both scores of all parts together, each in [0, 1], and the bins."""
    bits, right, confidence = (np.sum([part[i] for part in parts], axis=0) for i in range(3))
    gaps = np.abs(right.astype(float) - confidence)
    return {
        "expected_calibration_error": float(gaps.sum() / bits.sum()),
        "brier": sum(part.squared_error for part in parts) / int(bits.sum()),
        "bits": bits.tolist(),
        "right": right.tolist(),
        "confidence": confidence.tolist(),
    }
