"""Users who made an image together: everybody whose own code speaks for itself.

Where k users average their images, the coordinate of a bit lies near the mean of their levels, between -1
and 1: what all have in common is there in full, what they differ in is not. A user's score is
Σ_i w_i (2 c_i - 1) with the weights w_i = levels limited to ±1, so bits in which colluders differ count for
as little as they say; the levels of several files of one origin are averaged first. With all levels known
exactly, a colluder's score is √(bits / k) standard deviations above an innocent's on average, which is what
limits k.

Whatever the colluders did, they did not know an innocent's fair random code: so the chance P that it scores
as well is an exact sum (evidence.py), and a user is traced where 1 - (1 - P)^N ≤ alpha. Then the chance that
any of the N innocent ones is accused is at most alpha, however many colluded. Ties and several traced users
are no contradiction here. Words of an algebraic code are not independent of each other, so they cannot be
traced.

Source: the score of Škorić, Katzenbeisser and Celik 2008 (Designs, Codes and Cryptography 46) for symmetric
codes, with weights in place of signs; a randomisation test as in evidence.py.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int8

from latentfp.attribution.estimate import Estimate, Status
from latentfp.attribution.evidence import Soft
from latentfp.attribution.verdict import Registered, p_values

FULL = 24  # the weight of a level of 1 or more
MOST = 32  # users that are considered


class Suspect(NamedTuple):
    """A user (row of the registry), and the family-wise p-value of the user's own score."""

    user: int
    p_value: float


def levels_of(estimate: Estimate) -> Float[np.ndarray, "n k"]:
    """The levels of estimates, 0 where they failed."""
    failed = np.asarray(estimate.status) != Status.OK
    return np.where(failed[:, None], 0, np.asarray(estimate.levels))


def weights(levels: Float[np.ndarray, "n code"], *, repeats: int = 1) -> Int8[np.ndarray, "1 k"]:
    """Weights of a message's bits, one row of them, from the levels of `n` files of one origin.

    The repeats of a bit are averaged.
    """
    mean = levels.reshape(len(levels), -1, repeats).mean(axis=(0, 2), dtype=np.float64)
    return np.round(FULL * np.clip(mean, -1, 1)).astype(np.int8)[None]


def suspects(soft: Soft, registered: Registered) -> list[list[Suspect]]:
    """The MOST best users for every row of weights, the likeliest first."""
    found = []
    ranked = registered.rank(soft, MOST)
    for weight, rows, scores in zip(soft, ranked.users, ranked.scores, strict=True):
        p = p_values(np.repeat(weight[None], len(scores), axis=0), scores, registered)
        found.append([Suspect(int(row), float(one)) for row, one in zip(rows, p, strict=True)])
    return found


def traced(ranked: Sequence[Suspect], *, alpha: float) -> list[Suspect]:
    """Those who are accused."""
    return [suspect for suspect in ranked if suspect.p_value <= alpha]
