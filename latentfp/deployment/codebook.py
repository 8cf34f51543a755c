"""How the users of a deployment get their codes, and how they are found again.

    random    drawn one after the other, each far from all before (fingerprint/codes.py)
    bch       user number u has the word of the message to which a key permutes u, plus a mask of fair bits

Key and mask follow from the provider's secret by HMAC, and so do random codes where there is a secret;
without one, random codes are drawn from the operating system's entropy. The mask makes every user's code even
over all codes, which a word of a BCH code alone is not.
"""

import secrets
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from latentfp.attribution import ranking
from latentfp.attribution.verdict import Registered
from latentfp.choices import CodeKind
from latentfp.deployment.secret import Secret
from latentfp.fingerprint.bch import Bch, encode
from latentfp.fingerprint.codes import Packed, balance, draw_codes, fair_bits, pack, unpack
from latentfp.fingerprint.permutation import permute

SEARCHED = 2**24  # users among whom every image is compared with every code


class CodeFacts(NamedTuple):
    """What a manifest keeps; for a BCH code the bits of its message and its polynomial, hexadecimal."""

    kind: CodeKind
    message: int = 0
    polynomial: str = ""


class Codebook(NamedTuple):
    """The codes of a deployment. `secret`: None where it has none; `identity`: the deployment's.

    `balanced`: random codes have as many ones as zeros, because a one changes images and a zero does not.
    """

    facts: CodeFacts
    bits: int
    repeats: int
    min_distance: int
    identity: str
    secret: Secret | None
    balanced: bool = False

    @property
    def bch(self) -> Bch:
        """The algebraic code."""
        distance, polynomial = self.min_distance // self.repeats, int(self.facts.polynomial, 16)
        return Bch(self.bits // self.repeats, self.facts.message, distance, polynomial)

    def derived(self, purpose: str) -> bytes:
        """32 bytes for one purpose. ValueError without a secret."""
        if self.secret is None:
            raise ValueError("these codes follow from the deployment's secret, and none is given")
        return self.secret.derive(f"codes/{purpose}", self.identity)

    def mask(self) -> Bool[np.ndarray, " k"]:
        """Fair bits that all words of the algebraic code are changed by."""
        return fair_bits(self.derived("mask"), self.bits // self.repeats)


def assign(book: Codebook, seed: int | None, first: int, count: int, before: Callable[[], Packed]) -> Packed:
    """The packed codes [n bytes] of `count` new users, of which the first is number `first`, from 1.

    `before()`: the codes of all users before them. `seed` makes random codes repeatable, and known to whoever
    knows it. ValueError for a seed of algebraic codes or out of range, and where no such codes are left.
    """
    if book.facts.kind is CodeKind.BCH:
        if seed is not None:
            raise ValueError(
                "algebraic codes follow from the secret and the user's number: leave the seed out"
            )
        return _words(book, first, count)
    if seed is not None and not 0 <= seed < 2**64:
        raise ValueError(f"got the seed {seed}, expected 0 … 2^64 - 1")
    if seed is None:
        seed = secrets.randbits(128) if book.secret is None else int.from_bytes(book.derived("random"))
    drawn = draw_codes(
        seed,
        count,
        bits=book.bits,
        min_distance=book.min_distance,
        existing=unpack(before(), bits=book.bits),
        repeats=book.repeats,
        balanced=book.balanced,
    )
    return pack(drawn)


def registered(book: Codebook, codes: Callable[[], Packed], *, users: int) -> Registered:
    """The users to be searched; `codes()` is asked for only where all of them are compared.

    Balanced codes reach a score at most 1 / P[a fair code is balanced] times as often as fair ones do.
    """
    if book.facts.kind is CodeKind.BCH and users > SEARCHED:
        key = book.derived("order")
        return ranking.decoded(book.bch, users=users, key=key, mask=book.mask(), repeats=book.repeats)
    drawn_balanced = book.balanced and book.facts.kind is CodeKind.RANDOM
    bonferroni = 1 / balance(book.bits // book.repeats) if drawn_balanced else 1.0
    found = ranking.among_packed(codes(), bits=book.bits, repeats=book.repeats, bonferroni=bonferroni)
    return found._replace(dependent=book.facts.kind is CodeKind.BCH)


def _words(book: Codebook, first: int, count: int) -> Packed:
    if first - 1 + count > 1 << book.facts.message:
        raise ValueError(f"only 2^{book.facts.message} users have codes: fit a deployment of longer codes")
    numbers = np.arange(first - 1, first - 1 + count, dtype=np.uint64)
    messages = permute(numbers, key=book.derived("order"), width=book.facts.message)
    return pack((encode(book.bch, messages) ^ book.mask()).repeat(book.repeats, axis=1))
