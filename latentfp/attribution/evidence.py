"""How strongly soft bits speak for one code: scores, and exact chances of them. NumPy alone, for a record of
a case is checked with it where nothing else is installed (report/check.py).

Log-likelihood ratios of the bits, limited and rounded to integers q_i, give a code c the score
S = Σ_i q_i (2 c_i - 1) and the loss D = Σ_i |q_i| [c_i is not the sign of q_i]; S = Σ_i |q_i| - 2 D. Being
integers, scores are the same on every machine, and both chances below are exact sums, not approximations:

* `chance` that a code which has nothing to do with the image reaches S. Its bits are fair and independent of
  each other and of the image, because they were drawn so (fingerprint/codes.py). Nothing is assumed of the
  image's bits: they may be biased, depend on each other, or be those of a photograph.
* `miss_p_value`: that the image's own code reaches only S, if the ratios mean what they say.

What believes in ratios takes them divided by a number of the image, its temper, so that they mean what they
say (confidence.py): the miss p-value, the sums over several files, and the likelihood ratio

    LR = 2^k Π_i σ(±|q_i|)

of "this code was written" against "the image has nothing to do with it". Over fair codes its mean is 1,
whatever the ratios are, so it is above x with a chance of at most 1 / x (Ville 1939, the e-value of Vovk and
Wang 2021, Annals of Statistics 49): ratios that are wrong cost power, not truth.

Over N users and several files: `family_wise`, and Holm's step-down (1979, Scandinavian Journal of Statistics
6, 65).
Source: docs/concepts.md; a randomisation test (Fisher 1935) with the code as what was randomised.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STEP = 0.25  # of a log-likelihood ratio
LIMIT = 6.0  # no bit counts as surer than 1 in 400
SUPPORT = (  # log10 of a likelihood ratio, and the word from there on
    (np.log10(2), "weak"),
    (1, "moderate"),
    (2, "moderately strong"),
    (3, "strong"),
    (4, "very strong"),
    (6, "extremely strong"),
)

Soft = NDArray[np.int8]  # [n k]
Scores = NDArray[np.integer]  # [n]
Chances = NDArray[np.float64]  # [n]


def soften(logits: NDArray[np.floating], *, repeats: int = 1) -> Soft:
    """The q [n k] of a message's bits, from the logits [n, k repeats] of a code that has each of them
    `repeats` times in a row."""
    ratios = logits.reshape(len(logits), -1, repeats).sum(axis=2, dtype=np.float64)
    return np.round(np.clip(ratios, -LIMIT, LIMIT) / STEP).astype(np.int8)


def score(soft: Soft, codes: NDArray[np.bool_]) -> Scores:
    """The scores of one code [n k] an image."""
    return (soft.astype(int) * (2 * codes.astype(int) - 1)).sum(axis=1)


def chance(soft: Soft, scores: Scores) -> Chances:
    """P[S of a fair random code ≥ score], image by image; between 2^-k and 1."""
    weights, losses = np.abs(soft.astype(int)), _losses(soft, scores).tolist()
    fair = np.full(soft.shape[1], 0.5)
    return np.array([_below(w, fair, most) for w, most in zip(weights, losses, strict=True)])


def tempered(soft: Soft, tempers: Chances) -> Soft:
    """The ratios of each image divided by its temper."""
    return np.round(soft / tempers[:, None]).astype(np.int8)


def miss_p_value(soft: Soft, scores: Scores, tempers: Chances | float = 1.0) -> Chances:
    """P[S of the image's own code ≤ score], image by image, if ratios divided by `tempers` mean what they
    say."""
    weights, losses = np.abs(soft.astype(int)), _losses(soft, scores).tolist()
    steps = STEP / np.broadcast_to(tempers, len(soft))
    wrong = [1 / (1 + np.exp(step * w)) for step, w in zip(steps, weights, strict=True)]
    above = [_below(w, p, most - 1) for w, p, most in zip(weights, wrong, losses, strict=True)]
    return np.maximum(0.0, 1 - np.array(above))


def log_likelihoods(soft: Soft, scores: Scores, tempers: Chances | float = 1.0) -> Chances:
    """ln of the chance that the image's bits are all those of the code, Σ_i ln σ(±|q_i|), at most 0; the
    ratios divided by `tempers`."""
    steps = STEP / np.broadcast_to(tempers, len(soft))
    certain = -np.log1p(np.exp(-steps[:, None] * np.abs(soft.astype(int)))).sum(axis=1)
    return certain - steps * _losses(soft, scores)


def log10_ratios(
    soft: Soft, scores: Scores, tempers: Chances, *, users: int, factor: float
) -> NDArray[np.float64]:
    """log10 of the likelihood ratio for the user with this score, who was chosen among `users`.

    It is divided by them and by `factor`, what single chances are multiplied by: so, under codes that have
    nothing to do with the image, the mean of all users' ratios is at most 1 even for the best of them.
    """
    natural = soft.shape[1] * np.log(2) + log_likelihoods(soft, scores, tempers)
    return (natural - np.log(users * factor)) / np.log(10)


def support(log10_ratio: float) -> str:
    """A likelihood ratio in the words of forensic reports.

    Source: ENFSI Guideline for Evaluative Reporting in Forensic Science (2015), the verbal scale.

    >>> from latentfp.attribution.evidence import support
    >>> support(6.2), support(0.1), support(-2.5)
    ('extremely strong support', 'no support either way', 'moderately strong support against')
    """
    words = "no support either way"
    for limit, said in SUPPORT:
        if abs(log10_ratio) >= limit:
            words = f"{said} support"
    return f"{words} against" if log10_ratio <= -SUPPORT[0][0] else words


def family_wise(chances: Chances, *, users: int, dependent: bool = False) -> Chances:
    """The chance that any of `users` independent codes has what one has with these chances.

    Of codes that depend on each other, a bound: their sum.
    """
    if dependent:
        return np.minimum(1, users * chances)
    with np.errstate(divide="ignore"):  # log 0, for a chance of 1
        return -np.expm1(users * np.log1p(-np.minimum(chances, 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of a family, each of which is at most alpha where Holm's step-down rejects at alpha.

    The i-th smallest, from 0, is multiplied by how many there are less i; none is below that of a smaller
    one.
    """
    adjusted, largest = [1.0] * len(p_values), 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def _losses(soft: Soft, scores: Scores) -> Scores:
    return (np.abs(soft.astype(int)).sum(axis=1) - scores) // 2


def _below(weights: NDArray[np.integer], chances: Chances, most: int) -> float:
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
