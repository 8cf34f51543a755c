"""Algebraic codes: extended binary BCH codes, for more users than random codes can serve.

A word has n = 2^m bits: a message of `message` bits, the remainder of message(x) x^(n - 1 - message) by the
generator polynomial g, and a last bit that makes the number of ones even. Any two words differ in at least
`distance` bits. 64 bits hold 2^36 messages at distance 12. A message is a number, its highest bit first.

The polynomial comes from `galois`, once; whoever keeps it needs no table and no such library to write words.
Source: Bose and Ray-Chaudhuri 1960 (Information and Control 3); Lin and Costello 2004, chapter 6.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt64

from latentfp.fingerprint.codes import CodeBook

Messages = UInt64[np.ndarray, " n"]
LENGTHS = (16, 32, 64, 128, 256)
WIDEST_MESSAGE = 62  # bits of a number here


class Bch(NamedTuple):
    """A code. `polynomial`: g, the coefficient of x^i in bit i."""

    bits: int
    message: int
    distance: int
    polynomial: int


@cache
def family(bits: int) -> tuple[Bch, ...]:
    """All codes of a length, from the most messages, at most 2^62, to the fewest. ValueError for others."""
    import galois  # half a second

    if bits not in LENGTHS:
        raise ValueError(f"no BCH code of {bits} bits: expected one of {', '.join(map(str, LENGTHS))}")
    n, usual = bits - 1, galois.matlab_primitive_poly(2, bits.bit_length() - 1)
    root = galois.GF(bits, irreducible_poly=usual, compile="python-calculate").primitive_element
    codes, polynomial, roots = [], 1, set[int]()  # exponents of the root
    for power in range(1, n, 2):
        if power in roots:
            continue
        roots |= {(power << i) % n for i in range(bits.bit_length() - 1)}
        polynomial = _times(polynomial, int((root**power).minimal_poly()))
        message = n - len(roots)
        if 1 < message <= WIDEST_MESSAGE:
            distance = next(i for i in range(1, bits) if i not in roots)
            codes.append(Bch(bits, message, distance + 1, polynomial))
    return tuple(codes)


def _times(a: int, b: int) -> int:
    """The product of two binary polynomials, the coefficient of x^i in bit i."""
    product = 0
    while b:
        product ^= a * (b & -b)
        b &= b - 1
    return product


def construct(bits: int, message: int | None = None) -> Bch:
    """The code of this length and message. ValueError that lists those there are.

    No `message`: the longest with a distance of 3/16 of the bits, as 36 of 64 at distance 12.
    """
    codes = {code.message: code for code in family(bits)}
    if message is None:
        return next(code for code in codes.values() if 16 * code.distance >= 3 * bits)
    if message not in codes:
        there = ", ".join(f"{code.message} (distance {code.distance})" for code in codes.values())
        raise ValueError(f"no BCH code of {bits} bits has a message of {message}: there are {there}")
    return codes[message]


def generator_matrix(code: Bch) -> Bool[np.ndarray, "message bits"]:
    """The words of the messages 2^(message - 1), …, 2, 1, of which all others are sums."""
    checks = code.bits - 1 - code.message
    words = []
    for power in range(code.bits - 2, checks - 1, -1):
        word = 1 << power | _remainder(1 << power, code.polynomial)
        words.append([word >> i & 1 for i in range(code.bits - 2, -1, -1)] + [word.bit_count() & 1])
    return np.array(words, bool)


def encode(code: Bch, messages: Messages) -> CodeBook:
    """The words [n bits] of messages below 2^message."""
    places = np.arange(code.message - 1, -1, -1, dtype=np.uint64)
    bits = (messages[:, None] >> places & np.uint64(1)).astype(np.float32)
    return (bits @ generator_matrix(code).astype(np.float32)) % 2 == 1


def number_of(bits: Bool[np.ndarray, "n message"]) -> Messages:
    """Messages as numbers, from their bits."""
    places = np.arange(bits.shape[1] - 1, -1, -1, dtype=np.uint64)
    return (bits.astype(np.uint64) << places).sum(axis=1, dtype=np.uint64)


def correct(code: Bch, words: CodeBook) -> tuple[Messages, Int[np.ndarray, " n"]]:
    """The messages of words with up to (distance - 2) / 2 wrong bits, and how many were wrong.

    The last bit is not looked at; -1 wrong bits where there is no message so near.
    """
    import galois

    exact = galois.BCH(code.bits - 1, code.message)
    found, wrong = exact.decode(galois.GF2(words[:, :-1].astype(np.uint8)), errors=True)
    return number_of(np.asarray(found).astype(bool)), np.asarray(wrong, int)


def _remainder(dividend: int, divisor: int) -> int:
    """Of polynomials over two elements."""
    while dividend.bit_length() >= divisor.bit_length():
        dividend ^= divisor << (dividend.bit_length() - divisor.bit_length())
    return dividend
