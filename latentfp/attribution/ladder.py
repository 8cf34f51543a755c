"""Attribution in stages, of which each image climbs only as many as its evidence needs.

A rung takes the images that are still undecided, with what the rungs below found, and answers better at a
higher cost; costs add up. After each rung `decided` says which answers suffice.
Source: METHOD.md §4.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from latentfp.attribution.estimate import Answer, Progress, Status, replace, select
from latentfp.choices import Stage

Decided = Callable[[Answer], Bool[np.ndarray, " n"]]
Numbers = Int[np.ndarray, " n"]  # of images, from which what is random about them follows


class Rung(NamedTuple):
    """One stage. `run(images [n h w 3], numbers [n], answer of the rungs below or None, progress)`.

    `work`: how much progress an image makes here; `run` reports that much for each image.
    """

    stage: Stage
    work: int
    run: Callable[[Float[np.ndarray, "n h w 3"], Numbers, Answer | None, Progress], Answer]


def climb(
    rungs: Sequence[Rung],
    images: Float[np.ndarray, "n h w 3"],
    numbers: Numbers,
    *,
    decided: Decided,
    progress: Progress,
) -> Answer:
    """The answers of all images, each of the lowest rung that decides it, else of the last."""
    finite = np.asarray(np.isfinite(images).all(axis=(1, 2, 3)))
    shown = np.where(finite[:, None, None, None], images, 0).astype(np.float32)
    rows, best = np.arange(len(images)), None
    for i, rung in enumerate(rungs):
        below = None if best is None else select(best, rows)
        better = _with_costs(rung.run(shown[rows], numbers[rows], below, progress), below)
        best = better if best is None else replace(best, rows, better)
        open_rows = ~np.asarray(decided(better)) & finite[rows]
        progress(int((~open_rows).sum()) * sum(later.work for later in rungs[i + 1 :]))
        rows = rows[open_rows]
        if len(rows) == 0:
            break
    if best is None:
        raise ValueError("got no stages, expected at least 1")
    return _without(best, finite)


def confident(tolerance: float) -> Decided:
    """Answers whose bits are all right with a probability of at least 1 - `tolerance`, as the logits say."""

    def decided(answer: Answer) -> Bool[np.ndarray, " n"]:
        certainty = np.array(jnp.sum(jax.nn.log_sigmoid(jnp.abs(answer.estimate.logits)), axis=1))
        return np.asarray(certainty >= np.log1p(-tolerance))

    return decided


def _with_costs(answer: Answer, below: Answer | None) -> Answer:
    if below is None:
        return answer
    return answer._replace(passes=answer.passes + below.passes, looks=answer.looks + below.looks)


def _without(answer: Answer, finite: Bool[np.ndarray, " n"]) -> Answer:
    """Images that hold NaN or infinite numbers have a status of their own, and undecided bits."""
    estimate, known = answer.estimate, jnp.asarray(finite)
    estimate = estimate._replace(
        code=estimate.code & known[:, None],
        logits=jnp.where(known[:, None], estimate.logits, 0),
        loss=jnp.where(known, estimate.loss, jnp.inf),
        status=jnp.where(known, estimate.status, int(Status.NONFINITE)),
    )
    return answer._replace(estimate=estimate)
