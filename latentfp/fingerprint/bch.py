"""Algebraic codes: extended binary BCH codes, for more users than random codes can serve.

A word has n = 2^m bits: a message of `message` bits, the remainder of message(x) x^(n - 1 - message) by the
generator polynomial g, and a last bit that makes the number of ones even. Any two words differ in at least
`distance` bits. 64 bits hold 2^36 messages at distance 12. A message is a number, its highest bit first.

Numbers of GF(2^m) are polynomials in a root of `PRIMITIVE`, written as bits; they multiply by tables of
powers and logarithms. Whoever keeps g needs no field to write words.
Source: Bose and Ray-Chaudhuri 1960 (Information and Control 3); Lin and Costello 2004, chapter 6, for
correction by Berlekamp, Massey and Chien.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8, UInt64

from latentfp.fingerprint.codes import CodeBook

Messages = UInt64[np.ndarray, " n"]
Elements = UInt8[np.ndarray, "..."]
PRIMITIVE = {16: 0x13, 32: 0x25, 64: 0x43, 128: 0x89, 256: 0x11D}  # x^m + …, the usual ones
LENGTHS = tuple(PRIMITIVE)
WIDEST_MESSAGE = 62  # bits of a number here


class Bch(NamedTuple):
    """A code. `polynomial`: g, the coefficient of x^i in bit i."""

    bits: int
    message: int
    distance: int
    polynomial: int


class Field(NamedTuple):
    """GF(2^m): the powers a^0 … a^(2n - 1) of the root a, of which n = 2^m - 1 differ, and logarithms.

    The logarithm of 0, which has none, is 0.
    """

    powers: UInt8[np.ndarray, " 2n"]
    logs: Int[np.ndarray, " 2**m"]

    def times(self, x: Elements, y: Elements) -> Elements:
        """Products, element by element."""
        return np.where((x == 0) | (y == 0), np.uint8(0), self.powers[self.logs[x] + self.logs[y]])

    def over(self, x: Elements, y: Elements) -> Elements:
        """Quotients, element by element, by what is not 0."""
        n = len(self.powers) // 2
        return np.where(x == 0, np.uint8(0), self.powers[self.logs[x] + n - self.logs[y]])


@cache
def field(bits: int) -> Field:
    """The field of words of so many bits."""
    powers, power = [], 1
    for _ in range(bits - 1):
        powers.append(power)
        power <<= 1
        power ^= PRIMITIVE[bits] * (power >= bits)
    logs = np.zeros(bits, int)
    logs[powers] = np.arange(bits - 1)
    return Field(np.array(2 * powers, np.uint8), logs)


@cache
def family(bits: int) -> tuple[Bch, ...]:
    """All codes of a length, from the most messages, at most 2^62, to the fewest. ValueError for others."""
    if bits not in LENGTHS:
        raise ValueError(f"no BCH code of {bits} bits: expected one of {', '.join(map(str, LENGTHS))}")
    n, codes, polynomial, roots = bits - 1, [], 1, set[int]()  # exponents of the roots of the polynomial
    for power in range(1, n, 2):
        if power in roots:
            continue
        conjugates = {(power << i) % n for i in range(bits.bit_length() - 1)}
        roots |= conjugates
        polynomial = _times(polynomial, _with_roots(field(bits), conjugates))
        message = n - len(roots)
        if 1 < message <= WIDEST_MESSAGE:
            distance = next(i for i in range(1, bits) if i not in roots)
            codes.append(Bch(bits, message, distance + 1, polynomial))
    return tuple(codes)


def _with_roots(field: Field, exponents: set[int]) -> int:
    """The polynomial that is 0 at these powers of the root, all conjugates of one: so it is binary."""
    coefficients = np.array([1], np.uint8)
    for exponent in exponents:
        scaled = field.times(coefficients, field.powers[[exponent]])
        coefficients = np.concatenate([[np.uint8(0)], coefficients]) ^ np.concatenate([scaled, [np.uint8(0)]])
    return sum(1 << i for i, coefficient in enumerate(coefficients) if coefficient)


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
    over, n, radius = field(code.bits), code.bits - 1, (code.distance - 2) // 2
    received, exponents = words[:, :n], np.arange(n)[::-1]  # of the power of x that a bit belongs to
    syndromes = [
        np.bitwise_xor.reduce(np.where(received, over.powers[exponents * j % n], np.uint8(0)), axis=1)
        for j in range(1, 2 * radius + 1)
    ]
    locators, values = _locators(over, np.stack(syndromes, axis=1)), np.zeros(received.shape, np.uint8)
    for i in range(radius + 1):
        values ^= over.times(locators[:, i, None], over.powers[-exponents * i % n])
    messages = number_of((received ^ (values == 0))[:, : code.message])
    wrong = (encode(code, messages)[:, :n] != received).sum(axis=1)
    return messages, np.where(wrong <= radius, wrong, -1)


def _locators(over: Field, syndromes: UInt8[np.ndarray, "n s"]) -> UInt8[np.ndarray, "n s+1"]:
    """The shortest recursions of these sequences (Massey 1969), whose roots are the wrong places inverted."""
    rows, count = syndromes.shape
    found = np.zeros((rows, count + 1), np.uint8)
    found[:, 0] = 1
    before, scale, length = found, np.ones(rows, np.uint8), np.zeros(rows, int)
    for r in range(count):
        before = np.roll(before, 1, axis=1)
        gap = np.bitwise_xor.reduce(over.times(found[:, : r + 1], syndromes[:, r::-1]), axis=1)
        better = found ^ over.times(over.over(gap, scale)[:, None], before)
        longer = (gap != 0) & (2 * length <= r)
        before = np.where(longer[:, None], found, before)
        scale, length = np.where(longer, gap, scale), np.where(longer, r + 1 - length, length)
        found = better
    return found


def _remainder(dividend: int, divisor: int) -> int:
    """Of polynomials over two elements."""
    while dividend.bit_length() >= divisor.bit_length():
        dividend ^= divisor << (dividend.bit_length() - divisor.bit_length())
    return dividend
