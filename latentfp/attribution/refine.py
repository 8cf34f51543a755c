"""Attribution by damped Gauss–Newton steps in whitened coordinates: the reference's question, few steps.

    minimise |z|² / scale² + |theta|² + |psi|²,   z = (O(D_psi(g(w))) - O(x)) / error,   w = origin + theta A

theta: content and code, psi: what the damage is estimated wrong by (observation.py). A code bit is the sign
of its coordinate. `scale` starts above the residual √mean z² of the start, so that the prior smooths the
problem, and falls geometrically to a half of the known errors; but it is never below the residual itself: an
image is not explained better than its damage allows.

A step solves (JᵀJ/scale² + I + damping · M) d = -gradient by a few conjugate gradients, preconditioned by
M = E[JᵀJ]/scale² + I, the mean curvature over the prior, as corrected by what the steps before have seen of
JᵀJ (conjugate_gradients.py). Every image has its own damping and scale, and steps that raise the objective
are not taken. An image is done when its residual is that of the known errors, when neither its code nor its
objective changes any more, or, where that suffices, when its bits stand near their levels already.
Source: docs/concepts.md; Nocedal and Wright, Numerical Optimization (2006), chapters 7 and 10.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from latentfp.attribution import conjugate_gradients as cg
from latentfp.attribution.observation import Distortions, Observation, Observed, observe
from latentfp.attribution.whitening import Curvature, Thetas, Whitened, render
from latentfp.generators.generator import Generator
from latentfp.types import Images, Params

PerImage = Float[Array, " b"]
Point = Float[Array, "b q"]  # theta and psi, side by side

SOLVED = (
    1.3  # residual of a solved image: the known errors, and what single precision and stale noise maps add
)
DISTORTION_CURVATURE = (
    10.0  # squared change of an image by one SPREAD of a damage, in squared units of [-1, 1]
)
SETTLED = 0.01  # relative fall of the objective below which an image is as good as it gets
WRITTEN = 0.5  # level from which a bit counts as written; the two levels of a bit are -1 and 1


class Settings(NamedTuple):
    """Of one descent."""

    steps: int = 12
    inner: int = 6  # conjugate gradients of a step
    memory: int = 48  # of them that later steps remember
    first_scale: float = 4.0  # of the residual at the start
    last_scale: float = 0.5  # to which the scale falls, in units of the errors
    damping: float = 0.1
    near: float = 0.0  # residual of an undamaged image below which a code that is written suffices


class Model(NamedTuple):
    """What all images share: a pytree, so that none of it is compiled into a program."""

    params: Params
    space: Whitened
    curvature: Curvature


class State(NamedTuple):
    """Of every image. `scale` is that of the next step's prior, `still` counts steps without change."""

    point: Point
    damping: PerImage
    residual: PerImage
    scale: PerImage
    fall: PerImage  # the factor of `scale` from step to step
    still: Int[Array, " b"]
    done: Bool[Array, " b"]
    steps: Int[Array, " b"]
    memory: cg.Memory


class Problem(NamedTuple):
    """The images, and how they are compared."""

    targets: Observed
    errors: Observed
    distortions: Distortions


class Linear(NamedTuple):
    """What is seen at a point, in units of the errors, and its Jacobian there: a function of moves."""

    seen: Observed
    push: Callable[[Point], Observed]


def predicted(
    observation: Observation, generator: Generator, model: Model, problem: Problem, point: Point
) -> Observed:
    """What would be observed of a point, in units of the errors."""
    d = model.space.size
    images = render(generator, model.params, model.space, point[:, :d])
    return observe(observation, images, problem.distortions, point[:, d:]) / problem.errors


@partial(jax.jit, static_argnames="observation")
def pose(observation: Observation, images: Images, distortions: Distortions) -> Problem:
    """The problem of images [b h w 3] of [-1, 1] with the damages that are assumed.

    Pixels of NaN are not observed, nor are the coefficients of JPEG's blocks that hold one.
    """
    errors = jax.vmap(lambda distortion: observation.errors(images.shape[1:], distortion))(distortions)
    targets = jax.vmap(observation.target)(images)
    errors = jnp.where(jnp.isnan(targets), jnp.inf, errors)
    return Problem(jnp.nan_to_num(targets) / errors, errors, distortions)


@partial(jax.jit, static_argnames=("observation", "generator", "settings"))
def begin(
    observation: Observation,
    generator: Generator,
    model: Model,
    settings: Settings,
    images: Images,
    distortions: Distortions,
    theta: Thetas,
) -> tuple[Problem, State]:
    """The problem of `pose`, and the state of `init`."""
    problem = pose(observation, images, distortions)
    return problem, init(observation, generator, model, settings, problem, theta)


@partial(jax.jit, static_argnames=("observation", "generator", "settings"))
def init(
    observation: Observation,
    generator: Generator,
    model: Model,
    settings: Settings,
    problem: Problem,
    theta: Thetas,
) -> State:
    """The state before the first step from these coordinates; one pass."""
    b = theta.shape[0]
    point = jnp.concatenate([theta, jnp.zeros((b, observation.free))], axis=1)
    residual = _residual(predicted(observation, generator, model, problem, point) - problem.targets, problem)
    scale = jnp.maximum(settings.first_scale * residual, settings.last_scale)
    return State(
        point=point,
        damping=jnp.full(b, settings.damping),
        residual=residual,
        scale=scale,
        fall=(settings.last_scale / scale) ** (1 / max(1, settings.steps - 1)),
        still=jnp.zeros(b, int),
        done=~jnp.isfinite(residual),
        steps=jnp.zeros(b, int),
        memory=cg.nothing(*point.shape, pairs=settings.memory),
    )


def step(
    observation: Observation,
    generator: Generator,
    model: Model,
    settings: Settings,
    problem: Problem,
    state: State,
    *,
    bits: int,
    rolled: bool = False,
) -> State:
    """One damped step of every image that is not done: 3 + 2 · inner passes.

    Conjugate gradients are programs of their own, for CPUs: XLA's CPU backend runs the convolutions of a
    loop's body several times slower, and a program of all of them takes long to compile and to load.
    `rolled`: they are a loop, for a step that is itself part of a program.
    """
    linear, search = _linearize(observation, generator, model, problem, state)

    def further(search: cg.Search, _: None) -> tuple[cg.Search, tuple[Point, Point]]:
        return _conjugate_gradient(linear, model.curvature, problem, state, search)

    if rolled:
        search, stacked = jax.lax.scan(further, search, length=settings.inner)
        learnt = list(zip(*stacked, strict=True))
    else:
        learnt = []
        for _ in range(settings.inner):
            search, pair = further(search, None)
            learnt.append(pair)
    move = search.x, learnt
    return _move(observation, generator, model, settings, problem, state, linear.seen, move, bits)


@partial(jax.jit, static_argnames=("observation", "generator", "settings", "bits"), donate_argnames="state")
def steps_until_done(
    observation: Observation,
    generator: Generator,
    model: Model,
    settings: Settings,
    problem: Problem,
    state: State,
    working: Bool[Array, " b"],
    *,
    bits: int,
) -> State:
    """Steps as by `step`, until one of the images that are `working` is done.

    For accelerators: one program, so that the device never waits for the host within a descent.
    """

    one = partial(step, observation, generator, model, settings, problem, bits=bits, rolled=True)
    return jax.lax.while_loop(lambda state: ~jnp.any(state.done & working), one, state)


@partial(jax.jit, static_argnames=("observation", "generator"))
def _linearize(
    observation: Observation, generator: Generator, model: Model, problem: Problem, state: State
) -> tuple[Linear, cg.Search]:
    see = partial(predicted, observation, generator, model, problem)
    linear = Linear(*jax.linearize(see, state.point))
    _, precondition = _matrix(model.curvature, problem, state)
    pull = jax.linear_transpose(linear.push, state.point)
    gradient = pull((linear.seen - problem.targets) * _weight(state))[0] + state.point
    return linear, cg.begin(precondition, -gradient)


@partial(jax.jit, donate_argnames="search")
def _conjugate_gradient(
    linear: Linear, curvature: Curvature, problem: Problem, state: State, search: cg.Search
) -> tuple[cg.Search, tuple[Point, Point]]:
    """The search after one more of them, and what is to be remembered of it."""
    matrix, precondition = _matrix(curvature, problem, state)
    direction = search.direction
    curved = jax.linear_transpose(linear.push, state.point)(linear.push(direction))[0]
    return cg.advance(matrix(direction, curved), precondition, search), cg.pair(direction, curved)


@partial(jax.jit, static_argnames=("observation", "generator", "settings", "bits"), donate_argnames="state")
def _move(
    observation: Observation,
    generator: Generator,
    model: Model,
    settings: Settings,
    problem: Problem,
    state: State,
    seen: Observed,
    move: tuple[Point, Sequence[tuple[Point, Point]]],
    bits: int,
) -> State:
    """The state after a move, taken where it lowers the objective, with what was learnt on the way."""
    d, weight = model.space.size, _weight(state)
    moved = state.point + move[0]
    after = predicted(observation, generator, model, problem, moved)
    old = _objective(seen - problem.targets, state.point, weight)
    new = _objective(after - problem.targets, moved, weight)
    better = (new < old) & ~state.done
    point = jnp.where(better[:, None], moved, state.point)
    kept = jnp.where(better[:, None], after, seen)
    same = jnp.all((point > 0)[:, d - bits : d] == (state.point > 0)[:, d - bits : d], axis=1)
    resting = (
        same & (old - new < SETTLED * old) & (state.scale <= jnp.maximum(settings.last_scale, state.residual))
    )
    residual = _residual(kept - problem.targets, problem)
    still = jnp.where(resting, state.still + 1, 0)
    steps = state.steps + ~state.done
    written = jnp.mean(jnp.abs(point[:, d - bits : d]), axis=1) > WRITTEN
    near = (residual < settings.near) & written & (observation.free == 0)
    over = (residual < SOLVED) & same | near | (still >= 2) | (steps >= settings.steps)
    return State(
        point=point,
        damping=jnp.where(better, state.damping / 4, state.damping * 4),
        residual=residual,
        scale=jnp.maximum(settings.last_scale, state.scale * state.fall),
        fall=state.fall,
        still=still,
        done=state.done | over,
        steps=steps,
        memory=cg.remembered(state.memory, move[1]),
    )


def passes(steps: Int[np.ndarray, " b"], settings: Settings) -> Int[np.ndarray, " b"]:
    """Evaluations of the generator and products with its Jacobian or the transpose that these steps took."""
    return 1 + steps * (3 + 2 * settings.inner)


def _weight(state: State) -> Float[Array, "b 1"]:
    return 1 / jnp.maximum(state.scale, state.residual)[:, None] ** 2


def _matrix(
    curvature: Curvature, problem: Problem, state: State
) -> tuple[Callable[[Point, Point], Point], cg.Operator]:
    """A = JᵀJ/scale² + I + damping · M of a vector and JᵀJ times it, and an approximate inverse.

    The curvature along every damage is DISTORTION_CURVATURE.
    """
    weight, damping = _weight(state), state.damping[:, None]
    sharp = weight * sharpness(problem)[:, None]
    bends = [curvature.eigenvalues[None], curvature.rest[None, None], DISTORTION_CURVATURE]
    mean = [bend * sharp + 1 for bend in bends]
    vectors, d = curvature.eigenvectors, curvature.eigenvectors.shape[0]

    def by(factors: Sequence[Array], move: Point) -> Point:
        leading, other, distortion = factors
        theta = move[:, :d]
        turned = other * theta + ((theta @ vectors) * (leading - other)) @ vectors.T
        return jnp.concatenate([turned, move[:, d:] * distortion], axis=1)

    def matrix(move: Point, curved: Point) -> Point:
        return curved * weight + move + by([factor * damping for factor in mean], move)

    first = partial(by, [1 / (factor * (1 + damping)) for factor in mean])
    moves, curved = state.memory
    return matrix, cg.corrected(first, moves, jax.vmap(matrix, in_axes=1, out_axes=1)(moves, curved))


def sharpness(problem: Problem) -> PerImage:
    """How much an observation weighs a change of the image, against one of unit errors a pixel."""
    return jnp.sum(1 / problem.errors**2, axis=1) / jnp.sum(jnp.isfinite(problem.errors), axis=1)


def _residual(z: Observed, problem: Problem) -> PerImage:
    """√mean z² over what is observed at all."""
    return jnp.sqrt(jnp.sum(z**2, axis=1) / jnp.sum(jnp.isfinite(problem.errors), axis=1))


def _objective(z: Observed, point: Point, weight: Float[Array, "b 1"]) -> PerImage:
    value = jnp.sum(z**2 * weight, axis=1) + jnp.sum(point**2, axis=1)
    return jnp.where(jnp.isfinite(value), value, jnp.inf)
