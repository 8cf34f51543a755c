"""Who is registered, and how the best are found: among all codes, or by decoding an algebraic code."""

from functools import partial

import numpy as np
from jaxtyping import Bool, UInt8

from latentfp.attribution import list_decoding
from latentfp.attribution.evidence import Soft
from latentfp.attribution.search import best
from latentfp.attribution.verdict import TOP, Ranked, Registered
from latentfp.fingerprint.bch import Bch, encode
from latentfp.fingerprint.codes import CodeBook, Packed, pack, unpack
from latentfp.fingerprint.permutation import restore

LISTED = 64  # words among which the registered ones are looked for

Mask = Bool[np.ndarray, " bits"]


def among(codes: CodeBook, *, repeats: int = 1, bonferroni: float = 1.0) -> Registered:
    """The users with these codes [n k], which have each bit of a message `repeats` times in a row."""
    return among_packed(pack(codes), bits=codes.shape[1], repeats=repeats, bonferroni=bonferroni)


def among_packed(codes: Packed, *, bits: int, repeats: int = 1, bonferroni: float = 1.0) -> Registered:
    """The users with these packed codes of `bits` bits. Each search sees all of them."""
    messages = codes if repeats == 1 else pack(unpack(codes, bits=bits)[:, ::repeats])
    rank = partial(_search, messages)
    return Registered(len(codes), bits // repeats, repeats, rank, bonferroni)


def decoded(code: Bch, *, users: int, key: bytes, mask: Mask, repeats: int = 1) -> Registered:
    """Users number 0 … `users` - 1 of an algebraic code, whose time does not depend on how many they are.

    User u has the word of the message that `key` permutes u to, plus `mask`. The best words that are found
    (list_decoding.py) and registered are ranked.
    """
    rank = partial(_decode, code, users, key, mask)
    return Registered(users, code.bits, repeats, rank, dependent=True)


def _search(messages: UInt8[np.ndarray, "users bytes"], soft: Soft, top: int = TOP) -> Ranked:
    hits = best(soft, messages, top=top)
    bits = soft.shape[1]
    found = unpack(messages[hits.rows.ravel()], bits=bits).reshape(*hits.rows.shape, bits)
    return Ranked(hits.rows, hits.values, found, hits.values[:, 0])


def _decode(code: Bch, users: int, key: bytes, mask: Mask, soft: Soft, top: int = TOP) -> Ranked:
    found = list_decoding.decode(code, np.where(mask, -soft, soft).astype(np.int8), top=LISTED)
    flat = found.messages.ravel()
    numbers = restore(flat, key=key, width=code.message).reshape(found.messages.shape)
    known = numbers < users
    rows = np.where(known, numbers, 0).astype(int)
    order = np.lexsort((rows, -found.scores, ~known), axis=1)[:, :top]
    known, rows, scores = (np.take_along_axis(x, order, axis=1) for x in (known, rows, found.scores))
    words = encode(code, np.take_along_axis(found.messages, order, axis=1).ravel()) ^ mask
    least = -np.abs(soft.astype(int)).sum(axis=1, keepdims=True)
    return Ranked(
        np.where(known, rows, -1),
        np.where(known, scores, least),
        words.reshape(*known.shape, code.bits),
        found.scores[:, 0],
    )
