"""How many bits, which code and what distance a number of users needs, before anything is fitted.

With k bits that are all equally sure, N users and a family-wise rate alpha, w wrong bits are forgiven, the
most with 1 - (1 - s P[Bin(k, 1/2) <= w])^N <= alpha, as an image is judged after each of s = STAGES stages.
The error rate per bit that is tolerated is the largest p with P[Bin(k, p) <= w] >= `power`: then so many
marked images are named. Soft bits forgive more than that.

Random codes get the largest distance below which not more than one of all users' codes is expected to lie;
beyond `DRAWN` users their drawing takes too long, and the BCH code with the fewest messages that suffice
serves.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr, bdtri

from latentfp.attribution.evidence import family_wise
from latentfp.deployment.codebook import CodeKind
from latentfp.fingerprint import bch

LENGTHS = (32, 64, 128, 256)
DRAWN = 10**5
MOST_USERS, MOST_BITS = 1 << bch.WIDEST_MESSAGE, 2**16
STAGES = 4  # of the default method, at most: encoder, decoder, descent, several starts


class CodePlan(NamedTuple):
    """A code for some users. `message`: bits of a user's number, 0 for random codes; the same as in `fit`.

    `forgiven`: wrong bits of `bits`; `error_rate`: chance of a wrong bit that is tolerated.
    """

    bits: int
    kind: CodeKind
    message: int
    distance: int
    forgiven: int
    error_rate: float


def plan(users: int, *, bits: int, alpha: float, power: float = 0.999) -> CodePlan:
    """The code of this length for so many users. ValueError, with the reason, where there is none.

    `alpha`: largest rate of accusing anybody falsely, an image; `power`: share of marked images to be named.

    >>> found = lf.plan(1_000_000, bits=64, alpha=1e-6)
    >>> found.kind.value, found.forgiven
    ('bch', 4)
    """
    _check_request(users, (bits,), alpha=alpha, power=power)
    wrong = np.arange(bits + 1)
    allowed = np.flatnonzero(family_wise(STAGES * bdtr(wrong.astype(float), bits, 0.5), users=users) <= alpha)
    if len(allowed) == 0:
        least = float(family_wise(np.array([STAGES * 0.5**bits]), users=users)[0])
        raise ValueError(
            f"{bits} bits cannot serve {users} users at {alpha:g}: even without a wrong bit, a chance match "
            f"with one of them has the rate {least:.2g}; use more bits, fewer users or a larger alpha"
        )
    forgiven = int(allowed[-1])
    kind, message, distance = _code(users, bits)
    tolerated = float(bdtri(float(forgiven), bits, power)) if forgiven < bits else 1.0
    return CodePlan(bits, kind, message, distance, forgiven, tolerated)


def plans(
    users: int, *, lengths: Sequence[int] = LENGTHS, alpha: float, power: float = 0.999
) -> list[CodePlan | str]:
    """The code of each length, or why there is none. ValueError for numbers out of range."""
    _check_request(users, lengths, alpha=alpha, power=power)
    found: list[CodePlan | str] = []
    for bits in lengths:
        try:
            found.append(plan(users, bits=bits, alpha=alpha, power=power))
        except ValueError as error:
            found.append(str(error))
    return found


def describe(it: CodePlan) -> str:
    """A plan in words, with the options of `latentfp fit` that follow it."""
    message = f" --message {it.message}" if it.message else f" --min-distance {it.distance}"
    options = f"--bits {it.bits} --codes {it.kind}{message}"
    return (
        f"{it.bits} bits: {it.kind} code, distance {it.distance}, forgives {it.forgiven} wrong bits, "
        f"an error rate of {it.error_rate:.1%} a bit ({options})"
    )


def _check_request(users: int, lengths: Sequence[int], *, alpha: float, power: float) -> None:
    rules = [
        (1 <= users <= MOST_USERS, f"{users} users", f"1 … 2^{bch.WIDEST_MESSAGE}"),
        *((2 <= bits <= MOST_BITS, f"{bits} bits", f"2 … {MOST_BITS}") for bits in lengths),
        (0 < alpha < 1, f"alpha {alpha:g}", "a rate between 0 and 1"),
        (0 < power < 1, f"power {power:g}", "a rate between 0 and 1"),
    ]
    for holds, got, expected in rules:
        if not holds:
            raise ValueError(f"got {got}, expected {expected}")


def _code(users: int, bits: int) -> tuple[CodeKind, int, int]:
    if users <= DRAWN:
        users = max(users, 2)  # one alone would be as far from others as can be, and leave no room for any
        nearer = users * bdtr(np.arange(bits, dtype=float), bits, 0.5)  # expected at most this far
        return CodeKind.RANDOM, 0, max(1, int((nearer <= 1).sum()))
    if bits not in bch.LENGTHS:
        raise ValueError(
            f"{users} users are too many for random codes, and no BCH code has {bits} bits: use one of "
            f"{', '.join(map(str, bch.LENGTHS))}"
        )
    enough = [code for code in bch.family(bits) if 1 << code.message >= users]
    if not enough:
        raise ValueError(f"no BCH code of {bits} bits has {users} words: use more bits")
    return CodeKind.BCH, enough[-1].message, enough[-1].distance
