"""Preconditioned conjugate gradients that learn from the systems before.

Gauss–Newton steps solve systems A x = b whose matrices change little from step to step. What JᵀJ made of the
directions of earlier steps corrects the approximate inverse of the next matrix, as the pairs (s, A s) of a
limited-memory quasi-Newton method correct its first one. A third of the conjugate gradients then do.
Source: Morales and Nocedal, "Automatic preconditioning by limited memory quasi-Newton updating", SIAM Journal
on Optimization 10 (2000), 1079–1096; the recursion is that of Nocedal and Wright, Numerical Optimization
(2006), algorithm 7.4.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

PerRow = Float[Array, " b"]
Vectors = Float[Array, "b q"]
Pairs = Float[Array, "b m q"]
Operator = Callable[[Vectors], Vectors]  # a matrix for every row


class Search(NamedTuple):
    """Of every row: how far x has come, what is left of the right side, and where to go next."""

    x: Vectors
    residual: Vectors
    direction: Vectors
    power: PerRow  # residual · M⁻¹ residual


class Memory(NamedTuple):
    """Unit directions of earlier steps, the latest last, and JᵀJ of them; zeros where there are none yet."""

    moves: Pairs
    curved: Pairs


def begin(precondition: Operator, right: Vectors) -> Search:
    """The search for the solution of A x = right, row by row, before the first conjugate gradient."""
    scaled = precondition(right)
    return Search(jnp.zeros_like(right), right, scaled, jnp.sum(right * scaled, axis=1))


def advance(curved: Vectors, precondition: Operator, search: Search) -> Search:
    """One more conjugate gradient; `curved`: A times the direction."""
    length = _ratio(search.power, jnp.sum(search.direction * curved, axis=1))[:, None]
    residual = search.residual - length * curved
    scaled = precondition(residual)
    power = jnp.sum(residual * scaled, axis=1)
    direction = scaled + _ratio(power, search.power)[:, None] * search.direction
    return Search(search.x + length * search.direction, residual, direction, power)


def nothing(rows: int, size: int, *, pairs: int) -> Memory:
    """A memory for so many pairs of vectors of this size, before the first step."""
    return Memory(*(jnp.zeros((rows, pairs, size)),) * 2)


def pair(direction: Vectors, curved: Vectors) -> tuple[Vectors, Vectors]:
    """What is remembered of a direction and of JᵀJ times it; zeros of a row that has no way to go."""
    length = jnp.sqrt(jnp.sum(direction**2, axis=1, keepdims=True))
    return _ratio(direction, length), _ratio(curved, length)


def remembered(memory: Memory, learnt: Sequence[tuple[Vectors, Vectors]]) -> Memory:
    """The memory with these pairs, and without the oldest."""
    kept = memory.moves.shape[1]

    def latest(old: Pairs, new: Sequence[Vectors]) -> Pairs:
        both = jnp.concatenate([old, jnp.stack(new, axis=1)], axis=1)
        return both[:, both.shape[1] - kept :]

    return Memory(*(latest(old, new) for old, new in zip(memory, zip(*learnt, strict=True), strict=True)))


def corrected(precondition: Operator, moves: Pairs, curved: Pairs) -> Operator:
    """The approximate inverse of A after the BFGS corrections by pairs of s and A s, the latest last."""
    product = jnp.sum(moves * curved, axis=2)
    pairs = moves, curved, _ratio(jnp.ones_like(product), product)
    in_turn = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), pairs)

    def backward(vector: Vectors, one: tuple[Vectors, Vectors, PerRow]) -> tuple[Vectors, PerRow]:
        move, curve, inverse = one
        share = inverse * jnp.sum(move * vector, axis=1)
        return vector - share[:, None] * curve, share

    def forward(vector: Vectors, one: tuple[tuple[Vectors, Vectors, PerRow], PerRow]) -> tuple[Vectors, None]:
        (move, curve, inverse), share = one
        excess = share - inverse * jnp.sum(curve * vector, axis=1)
        return vector + excess[:, None] * move, None

    def apply(vector: Vectors) -> Vectors:
        left, shares = jax.lax.scan(backward, vector, in_turn, reverse=True)
        return jax.lax.scan(forward, precondition(left), (in_turn, shares))[0]

    return apply


def _ratio(numerator: Array, denominator: Array) -> Array:
    """0 for x / 0: a solved row has no way to go."""
    return jnp.where(denominator == 0, 0, numerator / denominator)
