"""Attribution by damped Gauss–Newton steps in whitened coordinates: the question of the reference, few steps.

    minimise |x - clip(g(w), -1, 1)|² / noise² + |theta|²,    w = origin + theta A        see whitening.py

A code bit is the sign of its coordinate. A file's pixels were limited to [-1, 1], so the render is too. The
scale `noise` starts large, where the prior smooths the problem, and falls geometrically to that of 8-bit
rounding, but never below the residual itself: an attacked image is not explained better than its damage
allows.

A step solves (JᵀJ/noise² + I + damping · M) d = -gradient by a few conjugate gradients with preconditioner
M = E[JᵀJ]/noise² + I, the mean curvature over the prior. Every image has its own damping, and steps that
raise the objective are not taken. Starts are the mean and samples of the prior; an image needs no further
start once its residual is that of rounding or two starts agree.
Source: METHOD.md §4; Nocedal and Wright, Numerical Optimization (2006), chapters 7 and 10.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from latentfp import rng
from latentfp.attribution.estimate import Estimate, Status
from latentfp.attribution.whitening import Thetas, Whitened, render
from latentfp.generators.generator import Generator
from latentfp.types import Images, Key, Params

PerImage = Float[Array, " b"]
Progress = Callable[[int], object]

ROUNDING = 2 / 255 / math.sqrt(12)  # standard deviation of 8-bit rounding
SOLVED = 1.5 * ROUNDING  # residual below which another start cannot help
AGREEMENT = 15 / 16  # share of bits in which two starts must agree


class Settings(NamedTuple):
    """Of the search; `noise` in units of the range [-1, 1]."""

    starts: int = 3
    steps: int = 36
    inner: int = 12  # conjugate gradients of a step
    first_noise: float = 4.0
    last_noise: float = 0.003
    damping: float = 0.1
    batch: int = 16  # images in one program call
    probes: int = 1024  # random directions that estimate the mean curvature


class State(NamedTuple):
    """Of every image: coordinates, damping, and the root mean square of the residual."""

    theta: Thetas
    damping: PerImage
    rms: PerImage


@partial(jax.jit, static_argnames=("generator", "inner"), donate_argnames="state")
def step(
    generator: Generator,
    params: Params,
    space: Whitened,
    targets: Float[Array, "b p"],
    state: State,
    noise: Float[Array, ""],
    *,
    inner: int,
) -> State:
    """One damped step of every image at noise scale max(noise, rms)."""
    theta, damping, rms = state
    weight = 1 / jnp.maximum(noise, rms)[:, None] ** 2
    image, push = jax.linearize(partial(render, generator, params, space), theta)
    pull = jax.linear_transpose(push, theta)
    mean_curvature = space.eigenvalues[None] * weight + 1

    def curve(move: Thetas) -> Thetas:
        damped = ((move @ space.eigenvectors) * mean_curvature * damping[:, None]) @ space.eigenvectors.T
        return pull(push(move) * weight)[0] + move + damped

    def precondition(residual: Thetas) -> Thetas:
        scaled = (residual @ space.eigenvectors) / (mean_curvature * (1 + damping[:, None]))
        return scaled @ space.eigenvectors.T

    gradient = pull((image - targets) * weight)[0] + theta
    moved = theta + conjugate_gradients(curve, precondition, -gradient, steps=inner)
    new = render(generator, params, space, moved)
    better = _objective(new, targets, moved, weight) < _objective(image, targets, theta, weight)
    kept = jnp.where(better[:, None], new, image)
    return State(
        jnp.where(better[:, None], moved, theta),
        jnp.where(better, damping / 4, damping * 4),
        jnp.sqrt(jnp.mean((kept - targets) ** 2, axis=1)),
    )


def conjugate_gradients(
    operator: Callable[[Thetas], Thetas],
    precondition: Callable[[Thetas], Thetas],
    right: Thetas,
    *,
    steps: int,
) -> Thetas:
    """`steps` preconditioned conjugate gradients for operator(x) = right, row by row.

    Unrolled: XLA's CPU backend runs the convolutions of a loop's body several times slower.
    """
    x, residual = jnp.zeros_like(right), right
    scaled = precondition(residual)
    direction, power = scaled, jnp.sum(residual * scaled, axis=1)
    for _ in range(steps):
        curved = operator(direction)
        length = _ratio(power, jnp.sum(direction * curved, axis=1))
        x = x + length[:, None] * direction
        residual = residual - length[:, None] * curved
        scaled = precondition(residual)
        power, before = jnp.sum(residual * scaled, axis=1), power
        direction = scaled + _ratio(power, before)[:, None] * direction
    return x


def _ratio(numerator: PerImage, denominator: PerImage) -> PerImage:
    """0 for 0 / 0: a solved row has no way to go."""
    return jnp.where(denominator == 0, 0, numerator / denominator)


def _objective(image: Array, targets: Array, theta: Thetas, weight: Array) -> PerImage:
    value = jnp.sum((image - targets) ** 2 * weight, axis=1) + jnp.sum(theta**2, axis=1)
    return jnp.where(jnp.isfinite(value), value, jnp.inf)


class Record:
    """The best start of every image so far, and whether another one could still matter."""

    def __init__(self, images: int, d: int, bits: int):
        self.theta, self.rms = np.zeros((images, d), np.float32), np.full(images, np.inf)
        self.score, self.starts = np.full(images, np.inf), np.zeros(images, int)
        self.settled, self.bits = np.zeros(images, bool), bits

    def add(self, row: int, theta: np.ndarray, rms: float, pixels: int) -> None:
        """A start's end. It settles an image at the residual of rounding, or when it finds the code again.

        Starts are compared by pixels · log rms² + |theta|²: the objective with the noise scale profiled out.
        """
        self.starts[row] += 1
        score = pixels * np.log(rms**2 + 1e-12) + np.sum(theta**2)
        agree = np.mean((theta > 0)[-self.bits :] == (self.theta[row] > 0)[-self.bits :]) >= AGREEMENT
        self.settled[row] |= rms < SOLVED or (self.starts[row] > 1 and bool(agree))
        if score < self.score[row]:
            self.theta[row], self.rms[row], self.score[row] = theta, rms, score


def refine_images(
    generator: Generator,
    params: Params,
    space: Whitened,
    images: Images | Float[np.ndarray, "b h w 3"],
    *,
    bits: int,
    key: Key,
    settings: Settings,
    first_image: int = 0,
    progress: Progress | None = None,
) -> tuple[Estimate, np.ndarray]:
    """The best start of every image [b h w 3], and how many starts each took.

    Start s of image i follows from `key`, `first_image` + i and s. `progress` hears steps of images that
    were done or found needless, of b · starts · steps in all.
    """
    targets = np.asarray(images, np.float32).reshape(len(images), -1)
    record = Record(len(targets), space.origin.shape[0], bits)
    waiting = [(start, row) for start in range(settings.starts) for row in range(len(targets))]
    while waiting:
        pairs, waiting = waiting[: settings.batch], waiting[settings.batch :]
        starts, rows = np.array(pairs).T
        theta, rms = _descend(
            generator, params, space, targets[rows], key, first_image + rows, starts, settings
        )
        for i, row in enumerate(rows):
            record.add(int(row), theta[i], float(rms[i]), targets.shape[1])
        needed = [(start, row) for start, row in waiting if not record.settled[row]]
        if progress:
            progress((len(pairs) + len(waiting) - len(needed)) * settings.steps)
        waiting = needed
    return _estimate(
        space, record.theta, record.rms, bits=bits, last_noise=settings.last_noise
    ), record.starts


def _descend(
    generator: Generator,
    params: Params,
    space: Whitened,
    targets: np.ndarray,
    key: Key,
    numbers: np.ndarray,
    starts: np.ndarray,
    settings: Settings,
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates and residuals after all steps from one start of each image, filled up to a batch."""
    fill = np.minimum(np.arange(settings.batch), len(targets) - 1)
    theta = _starts(key, jnp.asarray(numbers[fill]), jnp.asarray(starts[fill]), space.origin.shape[0])
    some = jnp.asarray(targets[fill])
    state = State(theta, jnp.full(settings.batch, settings.damping), jnp.zeros(settings.batch))
    for noise in np.geomspace(settings.first_noise, settings.last_noise, settings.steps, dtype=np.float32):
        state = step(generator, params, space, some, state, jnp.asarray(noise), inner=settings.inner)
    return np.asarray(state.theta)[: len(targets)], np.asarray(state.rms)[: len(targets)]


@partial(jax.jit, static_argnames="d")
def _starts(key: Key, numbers: Int[Array, " b"], starts: Int[Array, " b"], d: int) -> Thetas:
    """Start 0 is the mean, the others are samples of the prior."""

    def draw(number: Int[Array, ""], start: Int[Array, ""]) -> Float[Array, " d"]:
        return jnp.where(start > 0, jax.random.normal(rng.stream(key, "start", number, start), (d,)), 0)

    return jax.vmap(draw)(numbers, starts)


def _estimate(
    space: Whitened, theta: np.ndarray, rms: np.ndarray, *, bits: int, last_noise: float
) -> Estimate:
    """Soft bits: 2 theta / v, the log-likelihood ratio of the two levels at a posterior variance v.

    v comes from the mean curvature at the image's own residual, so it is a local, uncalibrated figure.
    """
    weight = 1 / np.maximum(rms, last_noise) ** 2
    vectors = np.asarray(space.eigenvectors)[-bits:]
    variance = (
        vectors[None] ** 2 / (np.asarray(space.eigenvalues)[None, None] * weight[:, None, None] + 1)
    ).sum(-1)
    code = theta[:, -bits:]
    finite: Bool[np.ndarray, " b"] = np.isfinite(rms)
    return Estimate(
        code=jnp.asarray(code > 0),
        logits=jnp.asarray(2 * code / variance, jnp.float32),
        content=jnp.asarray(
            theta[:, :-bits] * np.linalg.norm(np.asarray(space.rows), axis=1)[None, :-bits], jnp.float32
        ),
        loss=jnp.asarray(rms, jnp.float32),
        status=jnp.asarray(np.where(finite, Status.OK, Status.NONFINITE), jnp.int32),
    )
