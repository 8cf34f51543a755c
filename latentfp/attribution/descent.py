"""Descents of many images by the steps of refine.py: where they begin and end, what that says of bits.

On a CPU every image goes through the program alone, as many at once as there are cores; so what is found of
it cannot depend on its company. Each accelerator takes PLACES images together, and the next image where one
is done; there floats may differ by what rounding makes of another place.

The damage that a file went through decides how it is compared (observation.py). A descent may have ended
beside the best place, which its local information cannot tell. So its logits are halved and limited to DOUBT,
unless it explains an undamaged image to within rounding; and where its residual is above the errors, the
logits of the previous stage are added with the weight SHARE_PREVIOUS. The numbers were chosen on damaged
samples of the embedded generator.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from latentfp.attribution import covered, information, refine
from latentfp.attribution.encoder import Calibration
from latentfp.attribution.estimate import (
    Advance,
    Answer,
    Estimate,
    Rows,
    Status,
    answer,
    ignore,
    replace,
    select,
)
from latentfp.attribution.observation import DAMAGED, ROUNDING, SPREAD, UNDAMAGED, Observation, is_damaged
from latentfp.attribution.orientation import UPRIGHT
from latentfp.attribution.refine import SOLVED, Model, Settings
from latentfp.attribution.whitening import Curvature, Whitened, render
from latentfp.augment import damage
from latentfp.choices import Coding, Stage
from latentfp.fingerprint.basis import Space
from latentfp.generators.generator import Generator
from latentfp.runtime import mesh
from latentfp.types import Image, Images, Params

ImageRows = Float[np.ndarray, "n h w 3"]
Distortions = Float[np.ndarray, "n m"]
Thetas = Float[np.ndarray, "n d"]
Item = TypeVar("Item")
Result = TypeVar("Result")

PLACES = 64  # images that each accelerator takes together
RANK = 64  # of the local information
AGREEMENT = 15 / 16  # share of bits in which two starts must agree
DOUBT = 4.0  # largest log-likelihood ratio of a bit of which a descent is in doubt
SHARE_PREVIOUS = 0.2


class Subject(NamedTuple):
    """The generator whose users are asked for, and its fingerprint space.

    `curvature()`: of the images, for descents; `calibration()`: of the generator's encoder. Either may be
    slow the first time.
    """

    generator: Generator
    params: Params
    space: Space
    whitened: Whitened
    sigma: float
    coding: Coding
    curvature: Callable[[], Curvature]
    calibration: Callable[[], Calibration]

    @property
    def bits(self) -> int:
        """Of a code."""
        return self.space.code_axes.shape[0]

    @property
    def complete(self) -> bool:
        """Whether descents know of the whole latent: all axes, or how it varies along those left out."""
        return self.whitened.whole

    @property
    def content_stds(self) -> Float[np.ndarray, " r"]:
        """Of what an estimate calls content: the rest, if there is one, and the content along the axes."""
        return np.concatenate([self.whitened.rest, self.space.content_stds])


class Start(NamedTuple):
    """Images [n h w 3] of [-1, 1], the distortions that are assumed, and the coordinates to start from."""

    images: ImageRows
    distortions: Distortions
    thetas: Thetas


class FitResult(NamedTuple):
    """Where descents ended: coordinates, √mean z², soft bits, distortions, the passes that it took, in which
    orientation (orientation.py), and without which cells (covered.py)."""

    theta: Thetas
    residual: Float[np.ndarray, " n"]
    logits: Float[np.ndarray, "n k"]
    distortion: Distortions
    passes: Int[np.ndarray, " n"]
    orientation: Int[np.ndarray, " n"]
    hidden: covered.Cells


def places() -> int:
    """How many images go through one program together."""
    return 1 if jax.default_backend() == "cpu" else PLACES * jax.local_device_count()


def host_steps() -> bool:
    """Whether the host starts every step, or a program takes all of them until an image is done."""
    return jax.default_backend() == "cpu"


def placed(batch: Any) -> Any:
    """Arrays [b ...] of `places` images on this process's devices, split between them."""
    devices = mesh.data_mesh().local_mesh
    return mesh.shard_batch(devices, batch) if _shared(devices.size) else jax.tree.map(jnp.asarray, batch)


def on_all(model: Model) -> Model:
    """What all images share, on every device that `placed` uses."""
    devices = mesh.data_mesh().local_mesh
    return mesh.replicate(devices, model) if _shared(devices.size) else model


def _shared(devices: int) -> bool:
    return devices > 1 and places() % devices == 0


def batches(rows: Rows) -> list[tuple[Rows, Rows]]:
    """Rows in batches of `places`, each with what fills it up: every program has one shape."""
    size = places()
    parts = [rows[first : first + size] for first in range(0, len(rows), size)]
    return [(part, part[np.arange(size) % len(part)]) for part in parts]


def in_parallel(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterable[Result]:
    """`function` of every item, in order; several at once on a CPU.

    The first is alone, for it compiles what the others share.
    """
    workers = len(os.sched_getaffinity(0)) if jax.default_backend() == "cpu" else 1
    yield from map(function, items[:1])
    if workers == 1 or len(items) < 3:
        yield from map(function, items[1:])
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(function, items[1:])


def in_batches(function: Callable[..., Any], *arrays: np.ndarray, progress: Advance = ignore) -> Any:
    """`function` of all rows of arrays, `places` of them at a time, on the host."""

    def one(batch: tuple[Rows, Rows]) -> Any:
        some, filled = batch
        found = jax.device_get(function(*placed(tuple(part[filled] for part in arrays))))
        progress(len(some))
        return jax.tree.map(lambda leaf: leaf[: len(some)], found)

    parts = in_parallel(one, batches(np.arange(len(arrays[0]))))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def fit(
    subject: Subject, settings: Settings, start: Start, progress: Advance, *, soft: bool = True
) -> FitResult:
    """Descents in which every image is compared as its distortion demands. Soft bits take passes of their
    own: without them logits are 0."""
    model = on_all(Model(subject.params, subject.whitened, subject.curvature()))
    damaged = np.asarray(is_damaged(start.distortions))
    parts, order = [], []
    for observation, rows in ((UNDAMAGED, np.flatnonzero(~damaged)), (DAMAGED, np.flatnonzero(damaged))):
        tasks = rows[:, None] if places() == 1 else rows[None] if len(rows) else []
        one = partial(_fit, observation, subject, model, settings, start, progress, soft)
        parts += in_parallel(one, list(tasks))
        order += list(tasks)
    whole = FitResult(*(np.concatenate(leaves) for leaves in zip(*parts, strict=True)))
    return FitResult(*(part[np.argsort(np.concatenate(order))] for part in whole))


def _fit(
    observation: Observation,
    subject: Subject,
    model: Model,
    settings: Settings,
    start: Start,
    progress: Advance,
    soft: bool,
    rows: Rows,
) -> FitResult:
    begun = Start(*(part[rows] for part in start))
    found = descend(observation, subject, model, settings, begun, progress)
    d, point = begun.thetas.shape[1], np.asarray(found.point)
    moved = np.array(begun.distortions)
    moved[:, : observation.free] += point[:, d:] * np.asarray(SPREAD[: observation.free], np.float32)
    passes, logits = (
        refine.passes(np.asarray(found.steps), settings),
        np.zeros((len(rows), subject.bits), np.float32),
    )
    if soft:
        logits, cost = _soft_bits(observation, subject, model, settings, begun, found)
        passes = passes + cost
    seen = np.full(len(rows), UPRIGHT), covered.nothing(len(rows))
    return FitResult(point[:, :d], np.asarray(found.residual), logits, moved, passes, *seen)


def descend(
    observation: Observation,
    subject: Subject,
    model: Model,
    settings: Settings,
    start: Start,
    progress: Advance,
) -> refine.State:
    """The last state of every descent, as NumPy's arrays. `progress` hears of `settings.steps` an image."""
    n, size = len(start.thetas), places()
    rows = np.arange(size) % n  # whose image is in which place
    working = np.arange(size) < n
    waiting = list(range(size, n))
    problem, state = _begin(observation, subject, model, settings, start, rows)
    found: list[Any] = [None] * n
    constants = observation, subject.generator, model, settings
    while working.any():
        if host_steps():
            state = refine.step(*constants, problem, state, bits=subject.bits)
        else:
            state = refine.steps_until_done(*constants, problem, state, working, bits=subject.bits)
        over = np.asarray(state.done) & working
        if not over.any():
            continue
        host = jax.device_get(state)
        for place in np.flatnonzero(over):
            found[rows[place]] = jax.tree.map(lambda leaf, place=place: leaf[place], host)
        progress(int(over.sum()) * settings.steps)
        working &= ~over
        free = np.flatnonzero(over)[: len(waiting)]
        if len(free):
            rows = rows.copy()
            rows[free] = waiting[: len(free)]
            del waiting[: len(free)]
            working[free] = True
            fresh = _begin(observation, subject, model, settings, start, rows)
            problem, state = _merge((problem, state), fresh, np.isin(np.arange(size), free))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)


def _begin(
    observation: Observation, subject: Subject, model: Model, settings: Settings, start: Start, rows: Rows
) -> tuple[refine.Problem, refine.State]:
    images, distortions, thetas = placed(tuple(part[rows] for part in start))
    return refine.begin(observation, subject.generator, model, settings, images, distortions, thetas)


@jax.jit
def _merge(
    old: tuple[refine.Problem, refine.State],
    new: tuple[refine.Problem, refine.State],
    fresh: Bool[Array, " b"] | Bool[np.ndarray, " b"],
) -> tuple[refine.Problem, refine.State]:
    def chosen(before: jax.Array, after: jax.Array) -> jax.Array:
        return jnp.where(fresh.reshape(-1, *(1,) * (before.ndim - 1)), after, before)

    return jax.tree.map(chosen, old, new)


def _soft_bits(
    observation: Observation,
    subject: Subject,
    model: Model,
    settings: Settings,
    start: Start,
    found: refine.State,
) -> tuple[Float[np.ndarray, "n k"], Int[np.ndarray, " n"]]:
    """Logits where descents ended, and the passes that they took: none for undamaged images that are near.

    Of images that are not solved the logits are halved, and limited to DOUBT.
    """
    n, bits, d = len(found.residual), subject.bits, start.thetas.shape[1]
    rank = min(RANK, model.curvature.eigenvalues.shape[0])
    logits, cost = np.zeros((n, bits), np.float32), np.zeros(n, int)
    solved = found.residual < SOLVED
    easy = (found.residual < max(SOLVED, settings.near)) & (observation is UNDAMAGED)
    for rows, local in ((np.flatnonzero(easy), False), (np.flatnonzero(~easy), True)):
        cost[rows] = (1 + rank + observation.free) * local
        for some, filled in batches(rows):
            images, distortions, point, scale = placed(
                tuple(part[filled] for part in (*start[:2], found.point, np.maximum(1, found.residual)))
            )
            problem = refine.pose(observation, images, distortions)
            if local:
                variance = information.code_variances(
                    *(observation, subject.generator, model, problem, point, scale),
                    bits=bits,
                    rank=rank,
                )
            else:
                variance = information.mean_variances(model, problem, scale, bits=bits)
            ratio = information.soft_bits(found.point[filled, d - bits : d], np.asarray(variance))
            doubtful = DOUBT * np.tanh(ratio / 2 / DOUBT)
            logits[some] = np.where(solved[filled, None] & ~local, ratio, doubtful)[: len(some)]
    return logits, cost


def fitted(subject: Subject, previous: Answer) -> FitResult:
    """An answer as a fit result; a bit stands at the mean of its levels."""
    content = previous.estimate.content / subject.content_stds
    theta = np.concatenate([content, np.tanh(previous.estimate.logits / 2)], axis=1)
    parts = theta, previous.estimate.loss, previous.estimate.logits, previous.distortion
    parts = *parts, previous.passes, previous.orientation, previous.hidden
    return FitResult(*map(np.array, parts))


def explanations(subject: Subject, found: FitResult) -> ImageRows:
    """What the generator makes of fit results, with the distortions."""
    explain = partial(_explanations, subject.generator, subject.params, subject.whitened)
    return in_batches(explain, found.theta, found.distortion)


@partial(jax.jit, static_argnames="generator")
def _explanations(
    generator: Generator,
    params: Params,
    space: Whitened,
    theta: Float[Array, "b d"],
    distortion: Float[Array, "b m"],
) -> Images:
    def distorted(image: Image, values: Float[Array, " m"]) -> Image:
        return damage.distort(image, damage.from_coordinates(values))

    return jax.vmap(distorted)(render(generator, params, space, theta), distortion)


def left_over(subject: Subject, found: FitResult, files: ImageRows) -> Float[np.ndarray, " n"]:
    """The root mean square of what fit results leave of files, in units of the rounding to 8 bits; pixels of
    NaN do not count. One pass."""
    squares = np.square(files - explanations(subject, found)) / ROUNDING**2
    return np.sqrt(np.nanmean(squares, axis=(1, 2, 3)))


def blended(found: FitResult, previous: Answer | None) -> FitResult:
    """The logits of the previous stage as further, weaker evidence, where a descent is not solved."""
    if previous is None:
        return found
    weight = np.where(found.residual < SOLVED, 0, SHARE_PREVIOUS).astype(np.float32)[:, None]
    return found._replace(logits=found.logits + weight * previous.estimate.logits)


def answered(subject: Subject, stage: Stage, found: FitResult) -> Answer:
    """Fit results as answers of a stage; NaN is a status."""
    finite = np.isfinite(found.residual) & np.isfinite(found.logits).all(axis=1)
    logits = np.where(finite[:, None], found.logits, 0)
    estimate = Estimate(
        code=logits > 0,
        logits=logits,
        content=found.theta[:, : -subject.bits] * subject.content_stds[None],
        loss=found.residual,
        status=np.where(finite, Status.OK, Status.NONFINITE),
        levels=np.where(finite[:, None], found.theta[:, -subject.bits :], 0),
    )
    seen = {name: getattr(found, name) for name in ("distortion", "orientation", "hidden")}
    return answer(estimate, stage, passes=found.passes, **seen)


def better(
    best: FitResult | None, found: FitResult, rows: Rows, *, bits: int, pixels: int
) -> tuple[FitResult, Bool[np.ndarray, " r"]]:
    """The better of each two fit results, and which images need no other start.

    They are compared by pixels · log residual² + |content|², the objective with the errors' scale profiled
    out.
    """
    solved = found.residual < SOLVED
    if best is None:
        return found, solved
    old = select(best, rows)
    agree = ((old.theta > 0) == (found.theta > 0))[:, -bits:].mean(axis=1) >= AGREEMENT
    wins = _score(found, bits=bits, pixels=pixels) < _score(old, bits=bits, pixels=pixels)
    return replace(best, rows[wins], select(found, wins)), solved | agree


def _score(found: FitResult, *, bits: int, pixels: int) -> Float[np.ndarray, " n"]:
    content = np.sum(found.theta[:, :-bits] ** 2, axis=1)
    score = pixels * np.log(found.residual**2 + 1e-12) + content
    return np.where(np.isfinite(score), score, np.inf)
