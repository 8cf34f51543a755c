"""Random codes of users, any two of which differ in a guaranteed number of places. NumPy booleans [n k].

Bits are fair and independent, so every user's code is even over all codes, whoever the others are: refusing
codes that are too near to earlier ones treats all codes alike. That is what a p-value rests on
(attribution/verdict.py). Where a one changes an image and a zero does not (binary coding), codes with more
ones would cost more quality, so `balanced` ones are drawn evenly among those with as many ones as zeros.

Codes must be the same for as long as a deployment is used, so they hang on no library's random numbers: the
bits of SHAKE-256 (FIPS 202) of the text `latentfp/codes/SEED/USER/BLOCK`, the highest of a byte first, are
BLOCK candidates of fair bits for a user; or its little-endian 64-bit words are their bits' lots, of which the
lowest half gets ones.

With `repeats` r, a code is a message of k / r bits, each of them r times in a row; lengths and distances
count bits of the code all the same.

The default distance is k // 4, so 16 of 64 bits: a file with up to 7 wrong bits is still nearer to its own
user than to any other, and two random codes fall below it with chance 1e-5, so of the codes drawn for the
10 000th user one in ten is refused. Far more users than 10^5 need an algebraic code (bch.py).
"""

import hashlib
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int, UInt8

CodeBook = Bool[np.ndarray, "n k"]
OtherBook = Bool[np.ndarray, "m k"]
Packed = UInt8[np.ndarray, "n bytes"]
OtherPacked = UInt8[np.ndarray, "m bytes"]

TRIES = 1024  # candidates for one user before the request counts as unreachable
BLOCK = 4  # candidates drawn and compared at once


def draw_codes(
    seed: int,
    n: int,
    *,
    bits: int,
    min_distance: int | None = None,
    existing: OtherBook | None = None,
    repeats: int = 1,
    balanced: bool = False,
) -> CodeBook:
    """`n` new codes [n k], at least `min_distance` (default bits // 4) bits from each other and `existing`
    ones, each message bit `repeats` times in a row; `balanced`: with as many ones as zeros (or one less).

    The code of user i (counted from the first existing one) depends on `seed`, i and the codes before it, so
    users added later get the codes that they would have got at once. ValueError when no such codes exist or
    are found.
    """
    distance = bits // 4 if min_distance is None else min_distance
    taken = np.zeros((0, bits), dtype=bool) if existing is None else existing
    _check_request(n, bits, repeats, distance, taken)
    known = len(taken)
    book = np.concatenate([taken, np.zeros((n, bits), dtype=bool)])
    packed = pack(book)
    for user in range(known, known + n):
        blocks = _candidates(seed, user, bits // repeats, repeats, balanced)
        code = _first_far(blocks, packed[:user], distance)
        if code is None:
            raise ValueError(
                f"only {user - known} of {n} codes found: of {TRIES} more draws none is {distance} of {bits} "
                f"bits from the {user} codes before it; use fewer users, more bits or a smaller distance"
            )
        book[user] = code
        packed[user] = pack(code[None])[0]
    return book[known:]


def fair_bits(key: bytes, count: int) -> Bool[np.ndarray, " count"]:
    """The first bits of SHAKE-256 of a key, the highest of a byte first."""
    octets = np.frombuffer(hashlib.shake_256(key).digest(-(-count // 8)), np.uint8)
    return np.unpackbits(octets, count=count).astype(bool)


def check_length(*, bits: int, repeats: int = 1) -> None:
    """ValueError where there are no such codes."""
    if repeats < 1 or bits % repeats:
        raise ValueError(f"got repeats {repeats}, expected 1 or more that divide the {bits} bits of a code")
    if bits < 2 * repeats:
        raise ValueError(f"got {bits} bits, expected at least {2 * repeats}: two bits of a message")


def balance(bits: int) -> float:
    """The chance that a fair code has bits // 2 ones."""
    return math.comb(bits, bits // 2) / 2**bits


def pack(codes: CodeBook) -> Packed:
    """Codes as bytes [n, 8 ceil(k / 64)]: eight bits a byte, the first bit highest, filled up with zeros."""
    octets = np.packbits(codes, axis=1)
    return np.pad(octets, ((0, 0), (0, -octets.shape[1] % 8)))


def unpack(packed: Packed, *, bits: int) -> CodeBook:
    """The codes [n, bits] that were `pack`ed."""
    return np.unpackbits(packed, axis=1, count=bits).astype(bool)


def _distances(a: Packed, b: OtherPacked) -> Int[np.ndarray, "n m"]:
    differing = a.view(np.uint64)[:, None] ^ b.view(np.uint64)[None]
    return np.bitwise_count(differing).sum(axis=-1, dtype=np.int64)


def _candidates(seed: int, user: int, message: int, repeats: int, balanced: bool) -> Iterator[CodeBook]:
    """Blocks of codes for a user, in the order in which they are tried."""
    for block in range(TRIES // BLOCK):
        key = f"latentfp/codes/{seed}/{user}/{block}".encode()
        if balanced:
            lots = np.frombuffer(hashlib.shake_256(key).digest(8 * BLOCK * message), "<u8")
            order = lots.reshape(BLOCK, message).argsort(axis=1, kind="stable")
            messages = order.argsort(axis=1) < message // 2
        else:
            messages = fair_bits(key, BLOCK * message).reshape(BLOCK, message)
        yield messages.repeat(repeats, axis=1)


def _first_far(
    blocks: Iterator[CodeBook], before: OtherPacked, distance: int
) -> Bool[np.ndarray, " k"] | None:
    for candidates in blocks:
        far = (_distances(pack(candidates), before) >= distance).all(axis=1)
        if far.any():
            return candidates[far.argmax()]
    return None


def _check_request(n: int, bits: int, repeats: int, distance: int, existing: OtherBook) -> None:
    check_length(bits=bits, repeats=repeats)
    if n < 0 or not 1 <= distance <= bits:
        raise ValueError(
            f"got {n} codes at distance {distance}: expected 0 or more codes and a distance of 1 … {bits}, "
            "the most by which codes can differ"
        )
    if existing.shape[1] != bits:
        raise ValueError(
            f"existing codes have {existing.shape[1]} bits: expected {bits} as the new ones, change `bits`"
        )
