"""The words of an algebraic code that explain soft bits best, found without a list of users.

Ordered statistics: the most reliable independent bits of an image, as many as the message has, are taken as
they are read, then with every one and every two of them turned; each choice is one word, whose score

    S = Σ_i q_i (2 c_i - 1),    q: soft bits, positive for 1,

follows from sums over the rows of the reduced generator matrix. Where the best word differs from the reading
in more bits than the code can always correct, algebraic decoding is asked, too: so every reading with up to
(distance - 2) / 2 wrong bits finds its word, and most readings with more.

Time does not depend on how many users there are.
Source: Fossorier and Lin 1995 (IEEE Trans. Inf. Theory 41(5)); GF(2) elimination as usual.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Int8, UInt64

from latentfp.fingerprint.bch import Bch, correct, encode, generator_matrix, number_of

BATCH = 1024  # images at once

Words = Bool[Array, "message bits"]


class Candidates(NamedTuple):
    """Messages [n top] and their scores [n top], the best first; score and message are unique per row."""

    messages: UInt64[np.ndarray, "n top"]
    scores: Int[np.ndarray, "n top"]


def decode(code: Bch, soft: Int8[np.ndarray, "n bits"], *, top: int = 4) -> Candidates:
    """The `top` best words found for every row of soft bits, at most 1 + message (message + 1) / 2."""
    matrix = jnp.asarray(generator_matrix(code))
    found, scores = [], []
    for first in range(0, len(soft), BATCH):
        some = soft[first : first + BATCH]
        filled = jnp.asarray(some[np.arange(BATCH) % len(some)], jnp.float32)
        heads, sums = _ordered_statistics(matrix, filled, top)
        found.append(np.asarray(heads)[: len(some)])
        scores.append(np.asarray(sums)[: len(some)].astype(int))
    heads = np.concatenate(found)
    messages = number_of(heads.reshape(-1, code.message)).reshape(heads.shape[:2])
    return _with_corrected(code, soft, Candidates(messages, np.concatenate(scores)))


def _with_corrected(code: Bch, soft: Int8[np.ndarray, "n bits"], found: Candidates) -> Candidates:
    """Algebraic decoding of the rows that the list may have missed; a better word goes first."""
    read = soft > 0
    wrong = (encode(code, found.messages[:, 0]) != read).sum(axis=1)
    missed = np.flatnonzero(wrong > (code.distance - 2) // 2)
    if len(missed) == 0:
        return found
    messages, errors = correct(code, read[missed])
    words = encode(code, messages)
    scores = ((2 * words.astype(int) - 1) * soft[missed]).sum(axis=1)
    better = (errors >= 0) & (scores > found.scores[missed, 0])
    rows = missed[better]
    for place, best in ((found.messages, messages[better]), (found.scores, scores[better])):
        place[rows] = np.concatenate([best[:, None], place[rows, :-1]], axis=1)
    return found


@partial(jax.jit, static_argnames="top")
def _ordered_statistics(
    matrix: Words, soft: Float[Array, "b bits"], top: int
) -> tuple[Bool[Array, "b top message"], Float[Array, "b top"]]:
    return jax.vmap(partial(_one, matrix, top=top))(soft)


def _one(
    matrix: Words, soft: Float[Array, " bits"], *, top: int
) -> tuple[Bool[Array, "top message"], Float[Array, " top"]]:
    """The first bits, which are the message, of the best words, and their scores."""
    rows, pivots = _reduced(matrix, jnp.argsort(-jnp.abs(soft)))
    k = len(matrix)
    start = (soft[pivots] > 0) @ rows.astype(jnp.float32) % 2 == 1
    gains = jnp.where(start, soft, -soft)  # what each bit of the first word adds to its score
    weighted = rows * gains[None]
    single = weighted.sum(axis=1)
    both = single[:, None] + single[None] - 2 * weighted @ rows.astype(jnp.float32).T
    upper = jnp.triu(jnp.ones((k, k), bool), 1)
    turned = jnp.where(upper, both, jnp.inf)
    losses = jnp.concatenate([jnp.zeros(1), single, turned.ravel()])
    least, places = lax.top_k(-losses, top)
    pair = jnp.maximum(places - 1 - k, 0)
    first = jnp.where(places > k, pair // k, places - 1)
    heads = rows[:, :k]
    change = jnp.where((places > 0)[:, None], heads[first], False)
    change ^= jnp.where((places > k)[:, None], heads[pair % k], False)
    return start[None, :k] ^ change, gains.sum() + 2 * least


def _reduced(
    matrix: Words, order: Int[Array, " bits"]
) -> tuple[Bool[Array, "message bits"], Int[Array, " message"]]:
    """Rows for the same words, of which row i alone has a 1 at pivots[i]; pivots come early in `order`."""
    k = len(matrix)

    def step(
        state: tuple[Bool[Array, "k n"], Int[Array, " k"]], column: Int[Array, ""]
    ) -> tuple[tuple[Bool[Array, "k n"], Int[Array, " k"]], None]:
        rows, pivots = state
        there = rows[:, column]
        fresh = there & (pivots < 0)
        chosen = jnp.argmax(fresh)
        found = fresh[chosen]
        others = there & (jnp.arange(k) != chosen) & found
        rows ^= others[:, None] & rows[chosen][None]
        return (rows, jnp.where((jnp.arange(k) == chosen) & found, column, pivots)), None

    (rows, pivots), _ = lax.scan(step, (matrix, jnp.full(k, -1)), order)
    return rows, pivots
