"""Where descents of a batch of images end: in coordinates, soft bits and damages.

The damage that a file went through decides how it is compared (observation.py). A descent may have ended
beside the best place, which its local information cannot tell. So its logits are halved and limited to DOUBT,
unless it explains an undamaged image to within rounding; and where its misfit is above the errors, the logits
from below are added with the weight SHARE_BELOW. The numbers were chosen on damaged samples of the embedded
generator.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from latentfp.attribution import information
from latentfp.attribution.decoder import Reading, thetas
from latentfp.attribution.descent import PLACES, Descent, Start, descend, power_of_two
from latentfp.attribution.estimate import Answer, Estimate, Progress, Status, answer
from latentfp.attribution.ladder import Numbers
from latentfp.attribution.observation import DAMAGED, SPREAD, UNDAMAGED, Observation, is_damaged
from latentfp.attribution.refine import SOLVED, Model, Settings, passes, pose
from latentfp.attribution.whitening import Curvature, Whitened
from latentfp.augment import damage
from latentfp.choices import Coding, Stage
from latentfp.fingerprint.basis import Space
from latentfp.generators.generator import Generator
from latentfp.types import Params

Rows = Float[np.ndarray, "n h w 3"]
Harms = Float[np.ndarray, "n m"]
Logits = Float[np.ndarray, "n k"]

RANK = 64  # of the local information
AGREEMENT = 15 / 16  # share of bits in which two starts must agree
DOUBT = 4.0  # largest log-likelihood ratio of a bit of which a descent is in doubt
SHARE_BELOW = 0.2


class Subject(NamedTuple):
    """The generator whose users are asked for and its fingerprint space; `curvature()` may be slow."""

    generator: Generator
    params: Params
    space: Space
    whitened: Whitened
    sigma: float
    coding: Coding
    curvature: Callable[[], Curvature]

    @property
    def bits(self) -> int:
        """Of a code."""
        return self.space.code_axes.shape[0]

    @property
    def complete(self) -> bool:
        """Whether content and code together are the whole latent."""
        return self.whitened.rows.shape[0] == self.generator.latent_dim


class Ends(NamedTuple):
    """Where descents ended: coordinates, √mean z², soft bits, damages, and the passes that it took."""

    theta: Float[np.ndarray, "n d"]
    misfit: Float[np.ndarray, " n"]
    logits: Float[np.ndarray, "n k"]
    harms: Float[np.ndarray, "n m"]
    passes: Int[np.ndarray, " n"]


def ends_of(subject: Subject, below: Answer) -> Ends:
    """An answer as the end of a descent; a bit stands at the mean of its levels."""
    content = below.estimate.content / subject.space.content_stds[None]
    theta = thetas(Reading(content, below.estimate.logits, below.damage))
    parts = (theta, below.estimate.loss, below.estimate.logits, below.damage, below.passes)
    return Ends(*(np.array(part) for part in parts))  # copies, for `better` writes into them


def descended(
    subject: Subject,
    settings: Settings,
    images: Rows,
    harms: Float[np.ndarray, "n m"],
    origin: Float[np.ndarray, "n d"],
    progress: Progress,
) -> Ends:
    """Descents in which every image is compared as its damage demands."""
    model = Model(subject.params, subject.whitened, subject.curvature())
    ends = _room(origin, subject.bits)
    damaged = np.asarray(is_damaged(jnp.asarray(harms)))
    for observation, rows in ((UNDAMAGED, np.flatnonzero(~damaged)), (DAMAGED, np.flatnonzero(damaged))):
        if len(rows):
            start = Start(images[rows], harms[rows], origin[rows])
            for place, found in zip(
                ends, _ends(observation, subject, model, settings, start, progress), strict=True
            ):
                place[rows] = found
    return ends


def _room(origin: Float[np.ndarray, "n d"], bits: int) -> Ends:
    n = len(origin)
    return Ends(
        np.zeros_like(origin),
        np.zeros(n, np.float32),
        np.zeros((n, bits), np.float32),
        np.zeros((n, damage.SIZE), np.float32),
        np.zeros(n, int),
    )


def _ends(
    observation: Observation,
    subject: Subject,
    model: Model,
    settings: Settings,
    start: Start,
    progress: Progress,
) -> Ends:
    found = descend(
        observation,
        subject.generator,
        model,
        settings,
        start,
        bits=subject.bits,
        progress=lambda n: progress(n * settings.steps),
    )
    moved = start.harms.copy()
    moved[:, : observation.free] += found.moves * np.asarray(SPREAD[: observation.free], np.float32)
    logits, cost = _soft_bits(observation, subject, model, start, found)
    return Ends(found.thetas, found.misfits, logits, moved, passes(found.steps, settings) + cost)


def _soft_bits(
    observation: Observation, subject: Subject, model: Model, start: Start, found: Descent
) -> tuple[Logits, Int[np.ndarray, " n"]]:
    """Logits of the ends, and the passes that they took: none for undamaged images that are solved.

    The others' logits are halved, and limited to DOUBT.
    """
    n, bits = len(found.misfits), subject.bits
    logits, cost = np.zeros((n, bits), np.float32), np.zeros(n, int)
    easy = (found.misfits < SOLVED) & (observation is UNDAMAGED)
    for rows, local in ((np.flatnonzero(easy), False), (np.flatnonzero(~easy), True)):
        for first in range(0, len(rows), PLACES):
            some = rows[first : first + PLACES]
            filled = some[np.arange(min(PLACES, power_of_two(n))) % len(some)]
            variance = _variances(observation, subject, model, start, found, filled, local=local)
            ratio = np.asarray(information.soft_bits(jnp.asarray(found.thetas[filled, -bits:]), variance))
            soft = DOUBT * np.tanh(ratio / 2 / DOUBT) if local else ratio
            logits[some] = soft[: len(some)]
        cost[rows] = 1 + _rank(found) + observation.free if local else 0
    return logits, cost


def _variances(
    observation: Observation,
    subject: Subject,
    model: Model,
    start: Start,
    found: Descent,
    rows: Numbers,
    *,
    local: bool,
) -> Array:
    problem = pose(observation, jnp.asarray(start.images[rows]), jnp.asarray(start.harms[rows]))
    scale = jnp.maximum(1.0, jnp.asarray(found.misfits[rows]))
    if not local:
        return information.mean_variances(model, problem, scale, bits=subject.bits)
    point = jnp.asarray(np.concatenate([found.thetas[rows], found.moves[rows]], axis=1))
    return information.code_variances(
        observation, subject.generator, model, problem, point, scale, bits=subject.bits, rank=_rank(found)
    )


def _rank(found: Descent) -> int:
    return min(RANK, found.thetas.shape[1])


def blended(ends: Ends, below: Answer | None) -> Ends:
    """The logits from below as further, weaker evidence, where a descent is not solved."""
    if below is None:
        return ends
    weight = np.where(np.asarray(ends.misfit) < SOLVED, 0, SHARE_BELOW)[:, None]
    return ends._replace(logits=ends.logits + weight * np.asarray(below.estimate.logits))


def answered(subject: Subject, stage: Stage, ends: Ends) -> Answer:
    """Ends as answers of a stage; NaN is a status."""
    content = ends.theta[:, : -subject.bits] * np.asarray(subject.space.content_stds)[None]
    finite = np.isfinite(ends.misfit) & np.isfinite(ends.logits).all(axis=1)
    logits = np.where(finite[:, None], ends.logits, 0)
    estimate = Estimate(
        code=jnp.asarray(logits > 0),
        logits=jnp.asarray(logits),
        content=jnp.asarray(content),
        loss=jnp.asarray(ends.misfit),
        status=jnp.asarray(np.where(finite, Status.OK, Status.NONFINITE)),
        levels=jnp.asarray(np.where(finite[:, None], ends.theta[:, -subject.bits :], 0)),
    )
    return answer(estimate, stage, passes=jnp.asarray(ends.passes), damage=jnp.asarray(ends.harms))


def better(
    best: Ends | None, found: Ends, rows: Numbers, *, bits: int, pixels: int
) -> tuple[Ends, Bool[np.ndarray, " r"]]:
    """The better of each two ends, and which need no other start.

    They are compared by pixels · log misfit² + |content|², the objective with the errors' scale profiled out.
    """
    solved = found.misfit < SOLVED
    if best is None:
        return found, solved
    old = Ends(*(part[rows] for part in best))
    agree = ((old.theta > 0) == (found.theta > 0))[:, -bits:].mean(axis=1) >= AGREEMENT
    wins = _score(found, bits=bits, pixels=pixels) < _score(old, bits=bits, pixels=pixels)
    for place, part in zip(best, found, strict=True):
        place[rows[wins]] = part[wins]
    return best, solved | agree


def _score(ends: Ends, *, bits: int, pixels: int) -> Float[np.ndarray, " n"]:
    content = np.sum(ends.theta[:, :-bits] ** 2, axis=1)
    score = pixels * np.log(ends.misfit**2 + 1e-12) + content
    return np.where(np.isfinite(score), score, np.inf)
