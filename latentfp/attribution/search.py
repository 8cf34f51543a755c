"""Exact search among registered codes: soft scores and Hamming distances of many images against all users.

A score Σ_i q_i (2 c_i - 1) of integers is a matrix product, exact in bfloat16 with float32 sums for
|q| <= 127 and up to 2^17 bits; on a CPU as on an accelerator it is faster than counting differing bits. Codes
stay packed and are unpacked block by block.

The best `top` of a part lie in the `top` blocks with the largest maxima (ties: the lower block): each such
block holds a row at least as good. So a part is seen twice, once for the maxima of blocks, once for those few
blocks, and nothing is sorted. Ties go to the lower row, so there is one answer, for any number of devices.
"""

from collections.abc import Iterator
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Int8, UInt8

from latentfp.runtime.mesh import data_mesh, map_batch

QUERIES = 256  # at once
BLOCK, STEP, PART = 256, 4096, 2**18  # rows of which a maximum is kept, that are unpacked at once, of a part
PARTS = 8  # that are on the devices at once
MOST = 1024
NOBODY = -(2.0**24)

Book = UInt8[np.ndarray, "n bytes"]


class Hits(NamedTuple):
    """Rows of the book and their scores or distances, for every query the best first, ties by row."""

    rows: Int[np.ndarray, "q top"]
    values: Int[np.ndarray, "q top"]


def best(scores: Int8[np.ndarray, "q k"], book: Book, *, top: int) -> Hits:
    """The `top` codes of the largest soft score Σ_i scores_i (2 c_i - 1), at most all n.

    The book is packed as by fingerprint.codes.pack, and may be a memory-mapped file: beside it, a bounded
    part is held. ValueError for a `top` outside 1 … 1024 and for scores of another width than the codes.
    """
    width = 8 * book.shape[1]
    if not 1 <= top <= MOST:
        raise ValueError(f"got the best {top} codes asked for, expected 1 … {MOST}")
    if not width - 64 < scores.shape[1] <= width:
        raise ValueError(f"got scores of {scores.shape[1]} bits for codes packed in {width}")
    filled = np.pad(scores, ((0, 0), (0, width - scores.shape[1])))
    groups = [_search(filled[i : i + QUERIES], book, top) for i in range(0, len(filled), QUERIES)]
    if not groups:
        return Hits(*(np.zeros((0, min(top, len(book))), int) for _ in range(2)))
    return Hits(*(np.concatenate(parts) for parts in zip(*groups, strict=True)))


def nearest(queries: UInt8[np.ndarray, "q width"], book: Book, *, top: int) -> Hits:
    """The `top` codes that differ in the fewest bits from each query, packed alike; values are distances."""
    if queries.shape[1] != book.shape[1]:
        raise ValueError(f"got queries of {queries.shape[1]} bytes for codes of {book.shape[1]}")
    signs = 2 * np.unpackbits(queries, axis=1).astype(np.int8) - 1
    rows, agreement = best(signs, book, top=top)
    return Hits(rows, (signs.shape[1] - agreement) // 2)


def _search(scores: Int8[np.ndarray, "q k"], book: Book, top: int) -> Hits:
    count = min(QUERIES, 1 << max(0, len(scores) - 1).bit_length())
    filled = jnp.asarray(scores[np.arange(count) % len(scores)])
    found = Hits(*(np.zeros((len(scores), 0), int) for _ in range(2)))
    for first, parts, valid in _parts(book):
        rows, values = _program(top)(parts, jnp.broadcast_to(filled, (len(parts), *filled.shape)), valid)
        starts = first + parts.shape[1] * np.arange(len(parts))
        there = np.asarray(rows)[:, : len(scores)] + starts[:, None, None]
        found = _merged(found, there, np.asarray(values)[:, : len(scores)], top)
    return found


def _parts(book: Book) -> Iterator[tuple[int, UInt8[np.ndarray, "p rows bytes"], Int[np.ndarray, " p"]]]:
    """The first row, the rows in equal parts, and how many of each part are there, group by group."""
    devices = data_mesh().size
    size = min(PART, max(STEP, 1 << max(0, -(-len(book) // devices) - 1).bit_length()))
    count = devices * -(-min(PARTS, -(-len(book) // size)) // devices)
    for first in range(0, len(book), size * count):
        some = book[first : first + size * count]
        rows = np.zeros((count * size, book.shape[1]), np.uint8)
        rows[: len(some)] = some
        valid = np.clip(len(some) - size * np.arange(count), 0, size)
        yield first, rows.reshape(count, size, -1), valid


def _merged(
    found: Hits, rows: Int[np.ndarray, "p q top"], values: Float[np.ndarray, "p q top"], top: int
) -> Hits:
    """The best of what was found before and of every part."""
    more = (np.moveaxis(x, 0, 1).reshape(x.shape[1], -1) for x in (rows, values))
    rows, values = (np.concatenate(pair, axis=1) for pair in zip(found, more, strict=True))
    there = int((values[0] > NOBODY).sum()) if len(values) else 0
    order = np.lexsort((rows, -values), axis=1)[:, : min(top, there)]
    return Hits(*(np.take_along_axis(x, order, axis=1).astype(int) for x in (rows, values)))


@cache
def _program(top: int):
    return map_batch(jax.vmap(partial(_best_of_part, top=top)), data_mesh())


def _best_of_part(
    codes: UInt8[Array, "rows bytes"],
    scores: Int8[Array, "q k"],
    valid: Int[Array, ""],
    *,
    top: int,
) -> tuple[Int[Array, "q top"], Float[Array, "q top"]]:
    """Rows and scores of the best; rows from `valid` on are nobody's."""
    queries = scores.astype(jnp.bfloat16)

    def maxima(_: None, step: tuple[Array, Array]) -> tuple[None, Float[Array, "q blocks"]]:
        some, first = step
        values = jnp.where((first + jnp.arange(STEP) < valid)[None], _product(queries, some), NOBODY)
        return None, values.reshape(len(queries), -1, BLOCK).max(axis=2)

    firsts = jnp.arange(0, len(codes), STEP)
    _, found = lax.scan(maxima, None, (codes.reshape(-1, STEP, codes.shape[1]), firsts))
    highest = jnp.moveaxis(found, 0, 1).reshape(len(queries), -1)
    _, blocks = lax.top_k(highest, min(top, highest.shape[1]))
    within = jnp.arange(BLOCK)[None]

    def inside(query: tuple[Array, Array]) -> tuple[Int[Array, " top"], Float[Array, " top"]]:
        q, chosen = query
        rows = (jnp.sort(chosen)[:, None] * BLOCK + within).ravel()
        values = jnp.where(rows < valid, _product(q[None], codes[rows])[0], NOBODY)
        values, places = lax.top_k(values, top)
        return rows[places], values

    return lax.map(inside, (queries, blocks), batch_size=8)


def _product(queries: Array, codes: UInt8[Array, "n bytes"]) -> Float[Array, "q n"]:
    bits = codes[:, :, None] >> jnp.arange(7, -1, -1, dtype=jnp.uint8)[None, None] & 1
    signs = (2 * bits.astype(jnp.bfloat16) - 1).reshape(len(codes), -1)
    return lax.dot_general(queries, signs, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)
