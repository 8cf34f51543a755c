"""How strongly soft bits speak for one code: scores, and exact chances of them.

Log-likelihood ratios of the bits, limited and rounded to integers q_i, give a code c the score
S = Σ_i q_i (2 c_i - 1) and the loss D = Σ_i |q_i| [c_i is not the sign of q_i]; S = Σ_i |q_i| - 2 D. Being
integers, scores are the same on every machine, and both chances below are exact sums, not approximations:

* `chance` that a code which has nothing to do with the image reaches S. Its bits are fair and independent of
  each other and of the image, because they were drawn so (fingerprint/codes.py). Nothing is assumed of the
  image's bits: they may be biased, depend on each other, or be those of a photograph.
* `miss_p_value`: that the image's own code reaches only S, if the ratios mean what they say.

Source: docs/concepts.md; a randomisation test (Fisher 1935) with the code as what was randomised.
"""

import numpy as np
from jaxtyping import Float, Int, Int8
from scipy.special import expit, log_expit

STEP = 0.25  # of a log-likelihood ratio
LIMIT = 6.0  # no bit counts as surer than 1 in 400

Soft = Int8[np.ndarray, "n k"]
Scores = Int[np.ndarray, " n"]
Chances = Float[np.ndarray, " n"]


def soften(logits: Float[np.ndarray, "n code"], *, repeats: int = 1) -> Soft:
    """The q of a message's bits, from the logits of a code that has each of them `repeats` times in a row."""
    ratios = logits.reshape(len(logits), -1, repeats).sum(axis=2, dtype=np.float64)
    return np.round(np.clip(ratios, -LIMIT, LIMIT) / STEP).astype(np.int8)


def chance(soft: Soft, scores: Scores) -> Chances:
    """P[S of a fair random code ≥ score], image by image; between 2^-k and 1."""
    weights, losses = np.abs(soft.astype(int)), _losses(soft, scores).tolist()
    fair = np.full(soft.shape[1], 0.5)
    return np.array([_below(w, fair, most) for w, most in zip(weights, losses, strict=True)])


def miss_p_value(soft: Soft, scores: Scores) -> Chances:
    """P[S of the image's own code ≤ score], image by image, if ratios mean what they say."""
    weights, losses = np.abs(soft.astype(int)), _losses(soft, scores).tolist()
    above = [_below(w, expit(-STEP * w), most - 1) for w, most in zip(weights, losses, strict=True)]
    return np.maximum(0.0, 1 - np.array(above))


def log_likelihoods(soft: Soft, scores: Scores) -> Float[np.ndarray, " n"]:
    """ln of the chance that the image's bits are all those of the code, Σ_i ln σ(±|q_i|), at most 0."""
    certain = log_expit(STEP * np.abs(soft.astype(int))).sum(axis=1)
    return certain - STEP * _losses(soft, scores)


def _losses(soft: Soft, scores: Scores) -> Scores:
    return (np.abs(soft.astype(int)).sum(axis=1) - scores) // 2


def _below(weights: Int[np.ndarray, " k"], chances: Float[np.ndarray, " k"], most: int) -> float:
    """P[Σ_i weights_i B_i ≤ most] for independent B_i that are 1 with these chances, term by term."""
    if most < 0:
        return 0.0
    distribution = np.zeros(most + 1)
    distribution[0] = 1.0
    for weight, p in zip(weights.tolist(), chances.tolist(), strict=True):
        if weight > most:
            distribution *= 1 - p
        elif weight:
            moved = p * distribution[:-weight]
            distribution *= 1 - p
            distribution[weight:] += moved
    return float(distribution.sum())
