"""The words of an algebraic code that explain soft bits best, found without a list of users.

Ordered statistics: the most reliable independent bits of an image, as many as the message has, are taken as
they are read, then with every one and every two of them turned; each choice is one word, whose score

    S = Σ_i q_i (2 c_i - 1),    q: soft bits, positive for 1,

follows from sums over the rows of the reduced generator matrix. Where the best word differs from the reading
in more bits than the code can always correct, the same is done from the last of equally reliable bits instead
of the first, and where that fails, too, algebraic decoding is asked: so every reading with up to
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

from latentfp.fingerprint.bch import Bch, Messages, correct, encode, generator_matrix, number_of

BATCH = 1024  # images at once

Words = Bool[Array, "message bits"]


class Candidates(NamedTuple):
    """Messages [n top] and their scores [n top], the best first; score and message are unique per row."""

    messages: UInt64[np.ndarray, "n top"]
    scores: Int[np.ndarray, "n top"]


def decode(code: Bch, soft: Int8[np.ndarray, "n bits"], *, top: int = 4) -> Candidates:
    """The `top` best words found for every row of soft bits, at most 1 + message (message + 1) / 2."""
    found = _listed(code, soft, top=top, from_last=False)
    missed = _missed(code, soft, found)
    if len(missed):
        again = _listed(code, soft[missed], top=1, from_last=True)
        _put_first(found, missed, again.messages[:, 0], again.scores[:, 0])
    missed = _missed(code, soft, found)
    if len(missed):
        messages, errors = correct(code, soft[missed] > 0)
        scores = ((2 * encode(code, messages).astype(int) - 1) * soft[missed]).sum(axis=1)
        corrected = errors >= 0
        _put_first(found, missed[corrected], messages[corrected], scores[corrected])
    return found


def _listed(code: Bch, soft: Int8[np.ndarray, "n bits"], *, top: int, from_last: bool) -> Candidates:
    matrix = jnp.asarray(generator_matrix(code))
    found, scores = [], []
    for first in range(0, len(soft), BATCH):
        some = soft[first : first + BATCH]
        filled = jnp.asarray(some[np.arange(BATCH) % len(some)], jnp.float32)
        heads, sums = _ordered_statistics(matrix, filled, top, from_last)
        found.append(np.asarray(heads)[: len(some)])
        scores.append(np.asarray(sums)[: len(some)].astype(int))
    heads = np.concatenate(found)
    messages = number_of(heads.reshape(-1, code.message)).reshape(heads.shape[:2])
    return Candidates(messages, np.concatenate(scores))


def _missed(code: Bch, soft: Int8[np.ndarray, "n bits"], found: Candidates) -> Int[np.ndarray, " m"]:
    """The rows of which the list may have missed the word."""
    wrong = (encode(code, found.messages[:, 0]) != (soft > 0)).sum(axis=1)
    return np.flatnonzero(wrong > (code.distance - 2) // 2)


def _put_first(
    found: Candidates, rows: Int[np.ndarray, " m"], messages: Messages, scores: Int[np.ndarray, " m"]
) -> None:
    """Put a word before the others of its row where it is better than the best of them."""
    better = scores > found.scores[rows, 0]
    for place, best in ((found.messages, messages[better]), (found.scores, scores[better])):
        place[rows[better]] = np.concatenate([best[:, None], place[rows[better], :-1]], axis=1)


@partial(jax.jit, static_argnames=("top", "from_last"))
def _ordered_statistics(
    matrix: Words, soft: Float[Array, "b bits"], top: int, from_last: bool
) -> tuple[Bool[Array, "b top message"], Float[Array, "b top"]]:
    return jax.vmap(partial(_one, matrix, top=top, from_last=from_last))(soft)


def _one(
    matrix: Words, soft: Float[Array, " bits"], *, top: int, from_last: bool
) -> tuple[Bool[Array, "top message"], Float[Array, " top"]]:
    """The first bits, which are the message, of the best words, and their scores."""
    unsure = -jnp.abs(soft)
    order = len(soft) - 1 - jnp.argsort(unsure[::-1]) if from_last else jnp.argsort(unsure)
    rows, pivots = _reduced(matrix, order)
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
