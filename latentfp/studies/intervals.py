"""Binomial intervals after Clopper and Pearson (1934): exact, so never too short, whatever the true rate.

With k successes in n trials, [lo, hi] holds every rate p for which neither P[Bin(n, p) >= k] nor
P[Bin(n, p) <= k] is below (1 - confidence) / 2. Both ends are quantiles of beta distributions.
"""

from scipy.special import betaincinv


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
