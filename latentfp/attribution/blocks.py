"""The best rows of one chunk of codes for a group of queries: compiled, and without a sort of the chunk.

The cost of a code c for a query of hard bits h and planes m_p, all packed in words of 32 bits, is

    cost(c) = sum_p 2^p popcount((c xor h) & m_p).

A chunk is divided into blocks of neighbouring rows, of which only the least cost is kept. The `top` best
rows lie in the `top` blocks of the least minima, for a row elsewhere has a better row in each of these. So
minima are ranked first, in the same way, and then the rows of the best blocks: the work does not depend on
the codes. Rows are compared by (cost, row), so equal costs go to the lower row, and equal blocks likewise.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

TERMS = 128  # words times planes times rows of one compiled expression
BLOCK = 8  # most rows of a block
WIDE = 16  # blocks of a block of blocks

Costs = Float[Array, "q n"]
Places = Int[Array, "q top"]
Word = UInt32[Array, "..."]
Lanes = UInt32[Array, "1 block words blocks"]


class Queries(NamedTuple):
    """A group of queries: hard bits, and the planes of their magnitudes, the highest first."""

    hard: UInt32[Array, "q words"]
    planes: UInt32[Array, "planes q words"]


class Found(NamedTuple):
    """The best rows of one device's chunk, by (cost, row); an infinite cost where there are no more."""

    costs: Float[Array, "1 q top"]
    rows: Int[Array, "1 q top"]


def block_rows(*, words: int, planes: int) -> int:
    """How many rows make a block: a power of two up to BLOCK that keeps the compiled expression short."""
    fitting = max(1, min(BLOCK, TERMS // (words * planes)))
    return 1 << (fitting.bit_length() - 1)


def lay_out(codes: UInt32[Array, "n words"], *, block: int) -> Lanes:
    """One device's codes with equal words of all blocks side by side, so that a loop over blocks is flat.

    A program of its own: within another one the compiler would read the codes in strides, at half the speed.
    """
    n, words = codes.shape
    return codes.reshape(n // block, block, words).transpose(1, 2, 0)[None]


def best_rows(queries: Queries, lanes: Lanes, valid: Int[Array, " 1"], *, top: int) -> Found:
    """The rows of the least costs among the first `valid`, min(top, n) of them. Costs are below 2^24.

    The rows after the valid ones must equal the last of these, lest they lower the minimum of its block.
    """
    _, block, words, _ = lanes.shape
    least = jnp.sort(_lowest(_minima(queries, lanes[0], valid), top), axis=1)
    rows = (least[:, :, None] * block + jnp.arange(block)[None, None]).reshape(len(least), -1)
    near = lanes[0][:, :, least].transpose(1, 2, 3, 0).reshape(words, *rows.shape)
    costs = jnp.where(rows < valid[0], _costs(queries, list(near)), jnp.inf)
    order = _lowest(costs, top)
    return Found(*(jnp.take_along_axis(array, order, axis=1)[None] for array in (costs, rows)))


def _minima(
    queries: Queries, lanes: UInt32[Array, "block words blocks"], valid: Int[Array, " 1"]
) -> Float[Array, "q blocks"]:
    """The least cost of every block, infinite for blocks without a valid row."""
    block, words, blocks = lanes.shape
    rows = [_costs(queries, [lanes[row, word][None] for word in range(words)]) for row in range(block)]
    least = rows[0]
    for row in rows[1:]:
        least = jnp.minimum(least, row)
    return jnp.where(jnp.arange(blocks)[None] * block < valid[0], least, jnp.inf)


def _costs(queries: Queries, code: Sequence[Word]) -> Costs:
    """The costs of codes given word by word, [1 n] or [q n] each."""
    differing = [word ^ queries.hard[:, i, None] for i, word in enumerate(code)]
    cost = jnp.zeros((), jnp.uint32)
    for plane in queries.planes:
        cost = 2 * cost
        for i, word in enumerate(differing):
            cost = cost + jax.lax.population_count(word & plane[:, i, None])
    return cost.astype(jnp.int32).astype(jnp.float32)


def _lowest(costs: Costs, top: int) -> Places:
    """Where the least costs of every query are, min(top, n) of them, by (cost, place)."""
    queries, n = costs.shape
    if n % WIDE or n < 4 * WIDE * top:
        return jax.lax.top_k(-costs, min(top, n))[1]
    groups = costs.reshape(queries, n // WIDE, WIDE)
    chosen = jnp.sort(_lowest(groups.min(axis=2), top), axis=1)
    inside = jnp.take_along_axis(groups, chosen[:, :, None], axis=1).reshape(queries, -1)
    order = jax.lax.top_k(-inside, top)[1]
    return jnp.take_along_axis(chosen, order // WIDE, axis=1) * WIDE + order % WIDE
