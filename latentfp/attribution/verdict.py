"""From an estimated code to a verdict: one registered user, or none.

A user matches m of k bits. If the image bears no code at all, let its k estimated bits be independent and
fair; then one registered code matches at least m of them with chance P[Bin(k, 1/2) >= m], and any of N
independent codes with chance

    p = 1 - (1 - P[Bin(k, 1/2) >= m])^N.

The verdict is the user who matches best where p <= alpha and nobody else matches as well, otherwise none. p
is a promise about the whole search (family-wise), not about one user. It rests on the assumption of fair and
independent bits, which the bits of real photographs and other generators need not obey: nothing here measures
that.

Where a code has each bit of its message several times in a row, the bit counts once: k is the length of the
message, and a bit of it is the sign of the sum of its log-likelihood ratios.

alpha = 1e-6 by default: an accusation of the innocent weighs more than a missed image, and strictness costs
little with 64 bits: with 1 user registered up to 13 wrong bits are forgiven, with a thousand 8, with a
million 5.
Source: METHOD.md §5.
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import bdtrc

from latentfp.attribution.estimate import Estimate, Status
from latentfp.fingerprint.codes import CodeBook, OtherBook, hamming

ALPHA = 1e-6


class Verdict(NamedTuple):
    """Whose image it is; `matched_bits` and `p_value` are those of the best user, also of one not named."""

    verdict: Literal["user", "none"]
    user: int | None  # row of the code book
    matched_bits: int
    bits: int  # of the message
    p_value: float


def p_value(matched: Int[np.ndarray, " n"], *, bits: int, users: int) -> Float[np.ndarray, " n"]:
    """The chance that any of `users` codes matches at least `matched` of `bits` fair independent bits."""
    one = bdtrc(matched - 1.0, bits, 0.5)
    with np.errstate(divide="ignore"):  # log 0, for a match that is certain
        return -np.expm1(users * np.log1p(-one))


def matched_bits(codes: CodeBook, book: OtherBook) -> Int[np.ndarray, "n m"]:
    """In how many bits each of `codes` [n k] agrees with every registered one of `book` [m k]."""
    return book.shape[1] - hamming(codes, book)


def messages(logits: Float[np.ndarray, "n k"], *, repeats: int) -> Bool[np.ndarray, "n message"]:
    """The bits of a message from the logits of a code that has each `repeats` times in a row."""
    return logits.reshape(len(logits), -1, repeats).sum(axis=2) > 0


def judge(estimate: Estimate, book: CodeBook, *, alpha: float = ALPHA, repeats: int = 1) -> list[Verdict]:
    """The verdict on every image of `estimate` against the registered codes `book` [n k].

    `repeats`: how many times in a row the codes have each bit of their message. An estimate that failed is
    none, with no bits matched. ValueError for an empty book, and where not even a perfect match of its codes
    could have a p-value of `alpha`.
    """
    message = book[:, ::repeats]
    users, bits = message.shape
    check_alpha(alpha, bits=bits, users=users)
    read = messages(np.asarray(estimate.logits), repeats=repeats) if repeats > 1 else estimate.code
    matched = matched_bits(np.asarray(read), message)
    matched[np.asarray(estimate.status) != Status.OK] = 0
    best, most = matched.argmax(axis=1), matched.max(axis=1)
    chance = p_value(most, bits=bits, users=users)
    alone = (matched == most[:, None]).sum(axis=1) == 1
    return [
        Verdict("user" if named else "none", int(user) if named else None, int(count), bits, float(p))
        for named, user, count, p in zip(alone & (chance <= alpha), best, most, chance, strict=True)
    ]


def check_alpha(alpha: float, *, bits: int, users: int) -> None:
    """ValueError where nobody is registered, or not even a perfect match has a p-value of `alpha`."""
    if users == 0:
        raise ValueError("got no registered codes, expected at least 1: add a user first")
    (least,) = p_value(np.array([bits]), bits=bits, users=users)
    if not least <= alpha < 1:
        raise ValueError(
            f"alpha {alpha:g} cannot be met: with {users} users even {bits} of {bits} bits have a p-value of "
            f"{least:.2g}, expected an alpha from there to 1; use longer codes or a larger alpha"
        )
