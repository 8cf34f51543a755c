"""Many images through the steps of refine.py: a fixed number of places, and the next image where one is done.

So one compiled program serves any number of images, and an image that is settled early makes room.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from latentfp.attribution import refine
from latentfp.attribution.estimate import Progress
from latentfp.attribution.observation import Observation
from latentfp.attribution.refine import Model, Settings
from latentfp.generators.generator import Generator

PLACES = 16


class Start(NamedTuple):
    """Images [n h w 3], the damages that are assumed, and the coordinates to start from."""

    images: Float[np.ndarray, "n h w 3"]
    harms: Float[np.ndarray, "n m"]
    thetas: Float[np.ndarray, "n d"]


class Descent(NamedTuple):
    """Where each start ended, the fitted damage in units of its spread, √mean z², and the steps taken."""

    thetas: Float[np.ndarray, "n d"]
    moves: Float[np.ndarray, "n f"]
    misfits: Float[np.ndarray, " n"]
    steps: Int[np.ndarray, " n"]


def descend(
    observation: Observation,
    generator: Generator,
    model: Model,
    settings: Settings,
    start: Start,
    *,
    bits: int,
    places: int = PLACES,
    progress: Progress | None = None,
) -> Descent:
    """The ends of all descents. `progress` hears how many more are done."""
    n, d = start.thetas.shape
    places = min(places, power_of_two(n))
    found = Descent(
        np.zeros((n, d), np.float32),
        np.zeros((n, observation.free), np.float32),
        np.full(n, np.inf, np.float32),
        np.zeros(n, int),
    )
    rows = np.arange(places) % n  # whose image is in which place
    working = np.arange(places) < n
    waiting = list(range(places, n))
    problem, state = _begin(observation, generator, model, settings, start, rows)
    while working.any():
        state = refine.step(observation, generator, model, settings, problem, state, bits=bits)
        over = np.asarray(state.done) & working
        if not over.any():
            continue
        _record(found, rows, over, state)
        if progress:
            progress(int(over.sum()))
        working &= ~over
        free = np.flatnonzero(over)[: len(waiting)]
        if len(free):
            rows = rows.copy()
            rows[free] = waiting[: len(free)]
            waiting = waiting[len(free) :]
            working[free] = True
            fresh = _begin(observation, generator, model, settings, start, rows)
            problem, state = _merge((problem, state), fresh, np.isin(np.arange(places), free))
    return found


def _begin(
    observation: Observation,
    generator: Generator,
    model: Model,
    settings: Settings,
    start: Start,
    rows: np.ndarray,
) -> tuple[refine.Problem, refine.State]:
    images, harms, thetas = (jnp.asarray(part[rows]) for part in start)
    problem = _pose(observation, images, harms)
    return problem, refine.init(observation, generator, model, settings, problem, thetas)


_pose = jax.jit(refine.pose, static_argnums=0)


@jax.jit
def _merge(
    old: tuple[refine.Problem, refine.State],
    new: tuple[refine.Problem, refine.State],
    fresh: Bool[Array, " b"] | Bool[np.ndarray, " b"],
) -> tuple[refine.Problem, refine.State]:
    def chosen(before: jax.Array, after: jax.Array) -> jax.Array:
        return jnp.where(fresh.reshape(-1, *(1,) * (before.ndim - 1)), after, before)

    return jax.tree.map(chosen, old, new)


def _record(found: Descent, rows: np.ndarray, over: np.ndarray, state: refine.State) -> None:
    d = found.thetas.shape[1]
    point = np.asarray(state.point)[over]
    found.thetas[rows[over]], found.moves[rows[over]] = point[:, :d], point[:, d:]
    found.misfits[rows[over]] = np.asarray(state.misfit)[over]
    found.steps[rows[over]] = np.asarray(state.steps)[over]


def power_of_two(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << (n - 1).bit_length()
