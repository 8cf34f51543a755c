"""From soft bits to a verdict: one registered user, none, or inconclusive.

The best of N registered users has the score S. Were the image nobody's of them, one user's random code would
reach S with the exact chance P (evidence.py), and any of N with

    p = 1 - (1 - P)^N,

a promise about the whole search (family-wise), not about one user.

user          p <= alpha, nobody else reaches S, and the image fits as this generator's images do
none          the image's own code would almost never reach as little as S, by ratios that mean what they
              say (membership.py); so no registered user's copy made it
inconclusive  neither: too little of the code is left to accuse anyone, or to clear everyone

Where a fit leaves much of the image unexplained, its ratios are too sure of themselves. That does not touch
p, which assumes nothing of them; what does is computed from ratios that are divided by r² (evidence.py).

alpha = 1e-6 by default: an accusation of the innocent weighs more than a missed image, and strictness costs
little with 64 bits: where all bits are equally sure and an image is judged once, up to 13 wrong ones are
forgiven with 1 user registered, with a thousand 8, with a million 5; more where the wrong ones are the unsure
ones, one fewer where an image is judged after each of several stages.
Source: docs/concepts.md.
"""

import enum
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from latentfp.attribution.estimate import Estimate, Status
from latentfp.attribution.evidence import (
    Scores,
    Soft,
    chance,
    family_wise,
    log10_ratios,
    log_likelihoods,
    miss_p_value,
    soften,
)

ALPHA = 1e-6
TOP = 5  # users that are ranked
CLEARED = 1e-3  # chance of an image's own code below which it is taken to be no registered one


class Ranked(NamedTuple):
    """The best registered users of every image, best first, ties by row.

    `users`: rows of the registry, -1 where there is none, with `scores` and the bits of their messages;
    `bound`: no registered user's score is above it.
    """

    users: Int[np.ndarray, "n top"]
    scores: Int[np.ndarray, "n top"]
    messages: Bool[np.ndarray, "n top k"]
    bound: Int[np.ndarray, " n"]


class Rank(Protocol):
    """Finds the best registered users."""

    def __call__(self, soft: Soft, /, top: int = TOP) -> Ranked:
        """The best `top` of them for every image, or all where there are fewer."""
        ...


class Kind(enum.StrEnum):
    """What is said of an image."""

    USER = "user"
    NONE = "none"
    INCONCLUSIVE = "inconclusive"


class Registered(NamedTuple):
    """The users that are searched.

    `users`: how many; `bits` of their messages, each of which a code has `repeats` times in a row; `rank`
    finds the best. `bonferroni`: by what chances are multiplied because codes are not even over all codes, or
    images are judged more than once. `dependent`: whether codes depend on each other, as words of an
    algebraic code do.
    """

    users: int
    bits: int
    repeats: int
    rank: Rank
    bonferroni: float = 1.0
    dependent: bool = False


class Candidate(NamedTuple):
    """A user (row of the registry) as the author of an image; `log_likelihood`: natural, of the soft bits."""

    user: int
    score: int
    matched_bits: int
    log_likelihood: float


class Verdict(NamedTuple):
    """What is said of an image. `user`: a row of the registry, for the kind user.

    `p_value`, `miss_p_value` and `log10_lr`, the likelihood ratio, are those of the first of the `ranked`
    candidates, named or not; they follow from the image's `soft` bits and `temper`, the candidates' scores
    and `bound`, above which no user's score is. `clears_below`: the miss p-value below which everyone is
    cleared.
    """

    kind: Kind
    user: int | None
    p_value: float
    miss_p_value: float
    ranked: tuple[Candidate, ...]
    soft: tuple[int, ...]
    bound: int
    log10_lr: float
    temper: float
    clears_below: float


def judge(
    estimate: Estimate,
    registered: Registered,
    *,
    alpha: float = ALPHA,
    tempers: Float[np.ndarray, " n"] | float = 1.0,
    limits: Float[np.ndarray, " n"] | float = CLEARED,
    out_of_distribution: Bool[np.ndarray, " n"] | bool = False,
) -> list[Verdict]:
    """The verdict on every image of `estimate`.

    `tempers`: by what ratios are divided to mean what they say; `limits`: miss p-values below which an image
    clears everyone; `out_of_distribution`: images that fit worse than this generator's do. An estimate that
    failed is inconclusive.
    ValueError where nobody is registered, or not even a perfect match could have a p-value of `alpha`.
    """
    soft = soften(np.asarray(estimate.logits), repeats=registered.repeats)
    failed = np.asarray(estimate.status) != Status.OK
    seen = {"tempers": tempers, "limits": limits, "out_of_distribution": out_of_distribution}
    return judge_soft(soft, registered, alpha=alpha, failed=failed, **seen)


def judge_soft(
    soft: Soft,
    registered: Registered,
    *,
    alpha: float,
    failed: Bool[np.ndarray, " n"] | bool = False,
    tempers: Float[np.ndarray, " n"] | float = 1.0,
    limits: Float[np.ndarray, " n"] | float = 0.0,
    out_of_distribution: Bool[np.ndarray, " n"] | bool = False,
) -> list[Verdict]:
    """`judge` of soft bits, of which nothing clears everyone unless limits are given."""
    check_alpha(alpha, bits=registered.bits, users=registered.users, bonferroni=registered.bonferroni)
    ranked = registered.rank(soft)
    best = p_values(soft, ranked.scores[:, 0], registered)
    p = np.where(ranked.users[:, 0] < 0, 1.0, best)
    by = np.broadcast_to(np.asarray(tempers, float), len(soft))
    least = miss_p_value(soft, ranked.bound, by)
    among = {"users": registered.users, "factor": registered.bonferroni}
    ratios = log10_ratios(soft, ranked.scores[:, 0], by, **among)
    ratios = np.where(ranked.users[:, 0] < 0, np.nan, ratios)
    below = np.broadcast_to(np.asarray(limits, float), len(soft))
    failed = np.broadcast_to(failed, len(soft))
    named = (p <= alpha) & _alone(ranked) & ~failed & ~np.asarray(out_of_distribution)
    cleared = (p > alpha) & ~failed & (least < below)
    said = np.where(named, Kind.USER, np.where(cleared, Kind.NONE, Kind.INCONCLUSIVE))
    candidates, bits = _candidates(soft, ranked), soft.tolist()
    return [
        Verdict(
            kind=Kind(said[i]),
            user=int(ranked.users[i, 0]) if named[i] else None,
            p_value=float(p[i]),
            miss_p_value=float(least[i]),
            ranked=candidates[i],
            soft=tuple(bits[i]),
            bound=int(ranked.bound[i]),
            log10_lr=float(ratios[i]),
            temper=float(by[i]),
            clears_below=float(below[i]),
        )
        for i in range(len(soft))
    ]


def p_values(soft: Soft, scores: Scores, registered: Registered) -> Float[np.ndarray, " n"]:
    """Of users with these scores, one an image: family-wise, among all who are registered."""
    alone = np.minimum(1, registered.bonferroni * chance(soft, scores))
    return family_wise(alone, users=registered.users, dependent=registered.dependent)


def _alone(ranked: Ranked) -> Bool[np.ndarray, " n"]:
    """Whether the best user has a better score than any other."""
    if ranked.scores.shape[1] == 1:
        return np.ones(len(ranked.scores), bool)
    return (ranked.users[:, 1] < 0) | (ranked.scores[:, 0] > ranked.scores[:, 1])


def _candidates(soft: Soft, ranked: Ranked) -> list[tuple[Candidate, ...]]:
    read = soft > 0
    found: list[tuple[Candidate, ...]] = []
    matched = (ranked.messages == read[:, None]).sum(axis=2)
    likely = np.stack([log_likelihoods(soft, column) for column in ranked.scores.T], axis=1)
    for rows in zip(ranked.users, ranked.scores, matched, likely, strict=True):
        listed = (Candidate(int(u), int(s), int(m), float(x)) for u, s, m, x in zip(*rows, strict=True))
        found.append(tuple(candidate for candidate in listed if candidate.user >= 0))
    return found


def check_alpha(alpha: float, *, bits: int, users: int, bonferroni: float = 1.0) -> None:
    """ValueError where nobody is registered, or not even a perfect match has a p-value of `alpha`."""
    if users == 0:
        raise ValueError("got no registered codes, expected at least 1: add a user first")
    (least,) = family_wise(np.array([bonferroni * 0.5**bits]), users=users)
    if not least <= alpha < 1:
        raise ValueError(
            f"alpha {alpha:g} cannot be met: with {users} users even {bits} of {bits} bits have a p-value of "
            f"{least:.2g}, expected an alpha from there to 1; use longer codes or a larger alpha"
        )
