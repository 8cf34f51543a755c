"""The registered codes nearest to estimated ones: exact, many queries at once, a stream of the code book.

One cost serves both searches. With the hard bits h_i = [s_i > 0] of the soft scores s and d = c xor h,

    sum_i s_i (2 c_i - 1) = sum_i |s_i| - 2 cost(c),
    cost(c) = sum_i |s_i| d_i = sum_p 2^p popcount(d & m_p),

where the plane m_p packs bit p of every |s_i|: at most seven planes (eight with a score of -128), each as
cheap as a Hamming distance, which is the cost with one plane of ones. All are integers, nothing is rounded.

The book is read in chunks, each divided among the devices; attribution/blocks.py finds the best rows of each
part, and they are merged here. Equal values go to the lower row, so there is one answer, whatever the size of
a chunk and the number of devices. Memory: the packed codes, a few chunks and the minima of their blocks.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from itertools import chain, pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Int8, UInt8

from latentfp.attribution import blocks
from latentfp.attribution.blocks import Found, Queries
from latentfp.fingerprint.codes import pack
from latentfp.runtime import mesh
from latentfp.runtime.progress import progress

CHUNK = {"cpu": 2**16}  # rows of a device at once: on a CPU what is compared stays in its cache
LARGE_CHUNK = 2**20  # elsewhere, where a call costs more than its memory
SMALL_CHUNK = 2**10  # the least; between them powers of two, so that few programs are compiled
TOGETHER = 256  # queries compared at once
CANDIDATES = 2**14  # of all blocks that are ranked again at once: fewer queries together for a large `top`
SHORT = 2**33  # comparisons of a code and a plane
LONGEST = 1024  # bytes of a code: its cost stays below 2^24, so it is exact in float32

Bytes = UInt8[np.ndarray, "q bytes"]
Book = UInt8[np.ndarray, "n codebytes"]
Values = Float[np.ndarray, "q found"]
Rows = Int[np.ndarray, "q found"]


class Hits(NamedTuple):
    """The best rows of the book for every query, the best first, and their distances or scores."""

    rows: Int[np.ndarray, "q top"]
    values: Int[np.ndarray, "q top"]


class _Part(NamedTuple):
    """What is found in a chunk: its first row, the rows of a device, and each group's best rows."""

    start: int
    share: int
    groups: list[Found]


def nearest(queries: Bytes, book: Book, *, top: int) -> Hits:
    """The min(top, n) codes of the least Hamming distance to every query, in bits, ascending.

    Queries and book are packed as by `fingerprint.codes.pack`; the book may be a memory map. Equal distances
    are in the order of rows. ValueError where the widths differ or `top` is below 1.
    """
    _check(queries.shape[1], book, top)
    return _search(queries, np.full((1, *queries.shape), 255, np.uint8), book, top)


def best(scores: Int8[np.ndarray, "q k"], book: Book, *, top: int) -> Hits:
    """The min(top, n) codes c of the highest soft score sum_i scores_i (2 c_i - 1), descending.

    A score is positive where the bit is more likely one, and the larger the surer it is. The book is packed
    as by `fingerprint.codes.pack` and may be a memory map. Equal scores are in the order of rows. ValueError
    where k bits do not give the width of the book or `top` is below 1.
    """
    _check(-(-scores.shape[1] // 64) * 8, book, top)
    hits = _search(*pack_scores(scores), book, top)
    total = np.abs(scores.astype(np.int64)).sum(axis=1)
    return Hits(hits.rows, total[:, None] - 2 * hits.values)


def pack_scores(scores: Int8[np.ndarray, "q k"]) -> tuple[Bytes, UInt8[np.ndarray, "planes q bytes"]]:
    """Hard bits, and the planes of the magnitudes, the highest that holds anything first."""
    magnitudes = np.abs(scores.astype(np.int16))
    highest = int(magnitudes.max(initial=1)).bit_length() - 1
    planes = np.stack([pack((magnitudes >> p & 1).astype(bool)) for p in range(highest, -1, -1)])
    return pack(scores > 0), planes


def _check(width: int, book: Book, top: int) -> None:
    if top < 1:
        raise ValueError(f"got top {top}, expected at least 1: how many codes to return for a query")
    if width != book.shape[1]:
        raise ValueError(
            f"queries of {width} bytes cannot be compared with codes of {book.shape[1]} bytes: make both "
            "from the same number of bits, packed in 8 bytes for every 64 bits begun (fingerprint.codes.pack)"
        )
    if not width or width % 8 or width > LONGEST:
        raise ValueError(
            f"got codes of {width} bytes, expected a multiple of 8 up to {LONGEST}: pack them with "
            "fingerprint.codes.pack"
        )


def _search(hard: Bytes, planes: UInt8[np.ndarray, "planes q bytes"], book: Book, top: int) -> Hits:
    """The rows of the least costs and the costs, ascending."""
    count, n, devices = len(hard), len(book), mesh.data_mesh()
    groups = [mesh.replicate(devices, group) for group in groups_of(hard, planes, top)]
    block = blocks.block_rows(words=book.shape[1] // 4, planes=len(planes))
    hits, seen = Hits(np.zeros((count, 0), np.int64), np.zeros((count, 0), np.int64)), 0
    if not count:
        return Hits(*np.zeros((2, 0, min(top, n)), np.int64))
    with _progress(n, count * len(planes)) as advance:
        parts = chain(_parts(groups, book, top, block=block), [_Part(n, 0, [])])  # an empty one at the end
        for part, _begun in pairwise(parts):  # devices are busy with the next one while the host merges
            read = min(part.share * devices.size, n - seen)
            seen += read
            hits = _merge(hits, part, seen, top)
            advance(read)
    return hits


def _progress(n: int, times: int) -> AbstractContextManager[Callable[[int], None]]:
    """Codes searched, shown for work of more than about a second."""
    return progress("codes searched", n) if n * times > SHORT else nullcontext(lambda _: None)


def groups_of(hard: Bytes, planes: UInt8[np.ndarray, "planes q bytes"], top: int) -> Iterator[Queries]:
    """The queries in groups of a power of two; the last is filled up with zeros, which find something too."""
    size = min(TOGETHER, _power(len(hard)), max(1, _power(CANDIDATES // top + 1) // 2))
    for first in range(0, len(hard), size):
        some = slice(first, first + size)
        missing = size - len(hard[some])
        filled = np.pad(hard[some], ((0, missing), (0, 0)))
        filled_planes = np.pad(planes[:, some], ((0, 0), (0, missing), (0, 0)))
        yield Queries(jnp.asarray(filled.view(np.uint32)), jnp.asarray(filled_planes.view(np.uint32)))


def _power(n: int) -> int:
    """The least power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()


def _parts(groups: list[Queries], book: Book, top: int, *, block: int) -> Iterator[_Part]:
    """What is found in every chunk, in their order, and still being computed when it is yielded."""
    devices, share = mesh.data_mesh(), chunk(len(book))
    lay_out, best_rows = programs(block, top)
    for start in range(0, len(book), share * devices.size):
        codes = np.ascontiguousarray(book[start : start + share * devices.size]).view(np.uint32)
        valid = np.clip(len(codes) - share * np.arange(devices.size), 0, share).astype(np.int32)
        filled = np.pad(codes, ((0, share * devices.size - len(codes)), (0, 0)), mode="edge")
        filled, valid = mesh.shard_batch(devices, (filled, valid))
        lanes = lay_out((), (filled,))
        yield _Part(start, share, [best_rows(group, (lanes, valid)) for group in groups])


def chunk(codes: int) -> int:
    """How many codes of a book a device searches at once."""
    most = CHUNK.get(jax.default_backend(), LARGE_CHUNK)
    return max(SMALL_CHUNK, min(most, _power(-(-codes // mesh.data_mesh().size))))


@cache
def programs(block: int, top: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What lays out a chunk, of ((), (codes,)), and finds in it, of (queries, (lanes, valid))."""
    devices = mesh.data_mesh()
    return (
        mesh.map_shared(lambda _, codes: blocks.lay_out(codes, block=block), devices),
        mesh.map_shared(partial(blocks.best_rows, top=top), devices),
    )


def _gather(part: _Part, count: int) -> tuple[Values, Rows]:
    """The costs and rows of the book of the first `count` queries, the devices' one after another."""
    values, rows = [], []
    for found in part.groups:
        costs, places = np.asarray(found.costs), np.asarray(found.rows, np.int64)
        first = part.start + part.share * np.arange(len(places))
        values.append(np.concatenate(list(costs), axis=1))
        rows.append(np.concatenate(list(places + first[:, None, None]), axis=1))
    return np.concatenate(values)[:count], np.concatenate(rows)[:count]


def _merge(known: Hits, part: _Part, seen: int, top: int) -> Hits:
    """The best rows of the first `seen` of the book: `known` from before the part, and the part's own."""
    values, rows = _gather(part, len(known.rows))
    width = min(top, seen)
    if known.rows.shape[1] < width:
        return _best(known, rows, values, width)
    better = values.min(axis=1) < known.values[:, -1]
    some = Hits(known.rows[better], known.values[better])
    known.rows[better], known.values[better] = _best(some, rows[better], values[better], width)
    return known


def _best(known: Hits, rows: Rows, values: Values, width: int) -> Hits:
    rows = np.concatenate([known.rows, rows], axis=1)
    values = np.concatenate([known.values, values], axis=1)
    order = np.argsort(values, axis=1, kind="stable")[:, :width]
    rows, values = (np.take_along_axis(array, order, axis=1) for array in (rows, values))
    return Hits(rows, values.astype(np.int64))
