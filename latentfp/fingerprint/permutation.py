"""A secret order of numbers: user number ↔ message, one to one, without a table.

A Feistel network of ten rounds on `width` bits: two halves, of ⌈width/2⌉ and ⌊width/2⌋ bits, and in round i

    (a, b) ← (b, a ⊕ HMAC-SHA-256(key, i ‖ b) cut to the bits of a).

Whoever lacks the key cannot tell it from a random order, and the numbers of users say nothing about their
messages.
Source: Luby and Rackoff 1988 (SIAM J. Comput. 17); rounds and unequal halves as in FF1 (NIST SP 800-38G).
"""

import hashlib
import hmac

import numpy as np
from jaxtyping import UInt64

Numbers = UInt64[np.ndarray, " n"]
ROUNDS = 10
NARROWEST, WIDEST = 8, 62


def permute(numbers: Numbers, *, key: bytes, width: int) -> Numbers:
    """Messages of numbers below 2^width; ValueError for a width outside 8 … 62."""
    left, right = _halves(width)
    a, b = numbers >> np.uint64(right), numbers & _mask(right)
    for i in range(ROUNDS):
        a, b, left, right = b, a ^ _round(key, i, b, bits=left), right, left
    return a << np.uint64(right) | b


def restore(messages: Numbers, *, key: bytes, width: int) -> Numbers:
    """The numbers whose messages these are."""
    left, right = _halves(width)  # ten rounds leave the halves where they were
    a, b = messages >> np.uint64(right), messages & _mask(right)
    for i in reversed(range(ROUNDS)):
        a, b, left, right = b ^ _round(key, i, a, bits=right), a, right, left
    return a << np.uint64(right) | b


def _halves(width: int) -> tuple[int, int]:
    if not NARROWEST <= width <= WIDEST:
        raise ValueError(f"got messages of {width} bits, expected {NARROWEST} … {WIDEST}")
    return width - width // 2, width // 2


def _mask(bits: int) -> np.uint64:
    return np.uint64((1 << bits) - 1)


def _round(key: bytes, number: int, half: Numbers, *, bits: int) -> Numbers:
    """The hash of every half, computed once for those that are the same."""
    values, places = np.unique(half, return_inverse=True)
    head = number.to_bytes(1)
    hashes = b"".join(
        hmac.digest(key, head + value.to_bytes(8), hashlib.sha256)[:8] for value in values.tolist()
    )
    return np.frombuffer(hashes, ">u8").astype(np.uint64)[places] & _mask(bits)
