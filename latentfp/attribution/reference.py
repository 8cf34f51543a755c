"""The paper's attribution by optimisation, as one compiled program over images × starts.

What is minimised says how badly content alpha and code logits kappa explain an image x,

    distance(x, g(w)) + penalty Σ_i relu(|alpha_i| - 3 s_i),
    w = mu + U^T alpha + sigma V^T (sigmoid(kappa) - offset),

alpha, s and sigma in the latent's units. From each start, Adam minimises it over both at once, with the
learning rate

    rate · exp(-decay (t + 1)),    t = 0, 1, …, steps - 1.

kappa starts at 0, alpha at centred Latin hypercube points u in [0, 1]^r: alpha = (2 u - start_shift) s. Of
all starts the one with the lowest final loss wins; its code is kappa > 0. As in the public code the loss of a
step is that of the point before its update, so the final loss misses the last, smallest update and the code
does not. Source: docs/concepts.md; Nie et al. 2023, section 3.2 and the settings of its public code.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Int, PyTree, Shaped

from latentfp import rng
from latentfp.attribution.estimate import Estimate, ImageIds, Status, numbered
from latentfp.choices import Coding
from latentfp.fingerprint.basis import Space
from latentfp.fingerprint.embed import Strength, compose
from latentfp.generators.generator import Generator
from latentfp.types import Count, Image, Images, Key, Latents, Params, Scalar

ImageRows = Images | Float[np.ndarray, "b h w 3"]
Distance = Callable[[Image, Image], Scalar]  # of the target and an image, in that order
Synthesize = Callable[[Params, Latents], Images]
Contents = Float[Array, "b s r"]
Losses = Float[Array, "b s"]
Block = Shaped[Array, "..."]
MEAN_DECAY, SQUARE_DECAY, EPSILON = 0.9, 0.999, 1e-8  # Adam's
SEGMENT = 50  # steps between two calls of `progress`


class Settings(NamedTuple):
    """The hyper-parameters of the search."""

    starts: int
    steps: int
    rate: float  # learning rate, before any decay
    decay: float  # of its logarithm, each step
    penalty: float  # on each unit of content beyond three standard deviations
    start_shift: float  # starts lie between -start_shift and 2 - start_shift standard deviations


STYLEGAN2 = Settings(starts=20, steps=2000, rate=0.2, decay=0.001, penalty=0.1, start_shift=1.0)


def usual(generator: Generator) -> Settings:
    """The paper's settings for this generator; those for StyleGAN2 where it has none of its own."""
    return STYLEGAN2._replace(**generator.search._asdict())


class Problem(NamedTuple):
    """What all images of a run share: a pytree, so that none of it is compiled into a program."""

    params: Params
    space: Space
    distance: Distance
    sigma: Strength
    offset: float
    penalty: float


class Point(NamedTuple):
    """Content and code logits of every start of every image."""

    alpha: Contents
    kappa: Float[Array, "b s k"]


class State(NamedTuple):
    """The search after some updates; `loss` is that of the point before the last of them."""

    point: Point
    mean: Point  # of the gradient, and
    square: Point  # of its square, as Adam averages them
    loss: Losses


class Search(NamedTuple):
    """The best start of each image, and where all starts ended."""

    estimate: Estimate
    best: Int[Array, " b"]
    losses: Losses
    codes: Bool[Array, "b s k"]


def objective(synthesize: Synthesize, problem: Problem, targets: Images, point: Point) -> Losses:
    """The loss of every start of every target; the generator sees them all as one batch [b s, d]."""
    write = partial(compose, problem.space, sigma=problem.sigma)
    w = jax.vmap(jax.vmap(write))(point.alpha, jax.nn.sigmoid(point.kappa) - problem.offset)
    images = synthesize(problem.params, w.reshape(-1, w.shape[-1]))
    images = images.reshape(*w.shape[:2], *images.shape[1:])
    distances = jax.vmap(jax.vmap(problem.distance, (None, 0)))(targets, images)
    beyond = jax.nn.relu(jnp.abs(point.alpha) - 3 * problem.space.content_stds[None, None])
    return distances + problem.penalty * beyond.sum(axis=-1)


def hypercube(key: Key, *, points: int, dimensions: int) -> Float[Array, "s r"]:
    """Centred Latin hypercube points in [0, 1]: along each dimension one point in the middle of each cell."""
    cells = jnp.broadcast_to(jnp.arange(points)[:, None], (points, dimensions))
    return (jax.random.permutation(key, cells, independent=True) + 0.5) / points


@partial(jax.jit, static_argnames="settings")
def draw_starts(key: Key, ids: Int[Array, "b words"], space: Space, settings: Settings) -> Contents:
    """The contents from which images are searched; a row follows from `key` and its image's id alone."""

    def draw(words: Int[Array, " words"]) -> Float[Array, "s r"]:
        dimensions = space.content_stds.shape[0]
        u = hypercube(rng.stream(key, "starts", *words), points=settings.starts, dimensions=dimensions)
        return (2 * u - settings.start_shift) * space.content_stds[None]

    return jax.vmap(draw)(ids)


def init(starts: Contents, bits: int) -> State:
    """The state before the first update: the given contents with undecided bits."""
    images, width, _ = starts.shape

    def origin() -> Point:
        return Point(jnp.zeros_like(starts), jnp.zeros((images, width, bits)))

    return State(origin()._replace(alpha=jnp.array(starts)), origin(), origin(), jnp.zeros((images, width)))


def step(
    synthesize: Synthesize,
    problem: Problem,
    settings: Settings,
    targets: Images,
    t: int | Count,
    state: State,
) -> State:
    """Update number `t`. Losses are independent, so the gradient of their sum is the gradient of each."""

    def total(point: Point) -> tuple[Scalar, Losses]:
        losses = objective(synthesize, problem, targets, point)
        return losses.sum(), losses

    gradient, losses = jax.grad(total, has_aux=True)(state.point)
    mean = _blend(MEAN_DECAY, state.mean, gradient)
    square = _blend(SQUARE_DECAY, state.square, jax.tree.map(jnp.square, gradient))
    # Plain 1 - 0.999^t in float32, as in optax, is off by 1e-5 of itself; expm1 keeps all digits.
    mean_bias, square_bias = (-jnp.expm1((t + 1) * math.log(decay)) for decay in (MEAN_DECAY, SQUARE_DECAY))
    rate = settings.rate * jnp.exp(-settings.decay * (t + 1))

    def move(x: Array, m: Array, v: Array) -> Array:
        return x - rate * (m / mean_bias) / (jnp.sqrt(v / square_bias) + EPSILON)

    return State(jax.tree.map(move, state.point, mean, square), mean, square, losses)


def _blend(decay: float, average: Point, new: Point) -> Point:
    return jax.tree.map(lambda a, x: decay * a + (1 - decay) * x, average, new)


def advance(
    synthesize: Synthesize,
    problem: Problem,
    settings: Settings,
    targets: Images,
    state: State,
    first: int,
    end: int,
) -> State:
    """Updates first … end - 1, compiled once for each shape of `targets` and `state`; `state` is used up.

    One loop on an accelerator; on a CPU one call each, as XLA runs a loop's convolutions three times slower.
    """
    if jax.default_backend() == "cpu":
        for t in range(first, end):
            state = _update(synthesize, problem, settings, targets, t, state)
        return state
    return _updates(synthesize, problem, settings, targets, state, first, end)


_update = partial(jax.jit, static_argnames="synthesize", donate_argnames="state")(step)


@partial(jax.jit, static_argnames="synthesize", donate_argnames="state")
def _updates(
    synthesize: Synthesize,
    problem: Problem,
    settings: Settings,
    targets: Images,
    state: State,
    first: int | Count,
    end: int | Count,
) -> State:
    return jax.lax.fori_loop(first, end, partial(step, synthesize, problem, settings, targets), state)


@jax.jit
def result(point: Point, loss: Losses) -> Search:
    """The start with the lowest final loss of each image; one that is not finite never wins."""
    finite = (
        jnp.isfinite(loss) & jnp.isfinite(point.alpha).all(axis=-1) & jnp.isfinite(point.kappa).all(axis=-1)
    )
    best = jnp.argmin(jnp.where(finite, loss, jnp.inf), axis=1)
    row = jnp.arange(best.shape[0])
    logits, alpha = point.kappa[row, best], point.alpha[row, best]
    status = jnp.where(finite.any(axis=1), Status.OK, Status.NONFINITE)
    estimate = Estimate(logits > 0, logits, alpha, loss[row, best], status, jnp.tanh(logits / 2))
    return Search(estimate, best, loss, point.kappa > 0)


def attribute_images(
    generator: Generator,
    params: Params,
    space: Space,
    images: ImageRows,
    *,
    key: Key,
    sigma: Strength,
    coding: Coding,
    distance: Distance,
    settings: Settings = STYLEGAN2,
    ids: ImageIds | None = None,
    pairs_per_chunk: int = 32,
    place: Callable[[Any], Any] = jax.device_put,
    multiple: int = 1,
    progress: Callable[[int], object] | None = None,
) -> Search:
    """Search every image [b h w 3] of [-1, 1]. ValueError for sizes that do not fit each other.

    * The starts of an image follow from `key` and its id alone; ids count from 0 if not given.
    * Weights of `distance` are bound by `jax.tree_util.Partial`, as arguments of the compiled program.
    * A chunk holds `pairs_per_chunk` pairs of an image and a start.
    * `place` puts the arrays [rows …] of a chunk onto devices, after filling up to a `multiple` of rows.
    * `progress` hears of n more updates of pairs, of b · starts · steps in all.
    """
    _check(generator, space, images, settings)
    shared = distance if isinstance(distance, Partial) else Partial(distance)
    problem = Problem(params, space, shared, sigma, coding.offset, settings.penalty)
    rows, columns = chunk_shape(len(images), settings.starts, pairs=pairs_per_chunk, multiple=multiple)

    def search(targets: Images, starts: Contents, pairs: int) -> tuple[Point, Losses]:
        targets, state = place(targets), place(init(starts, space.code_axes.shape[0]))
        for first in range(0, settings.steps, SEGMENT):
            end = min(first + SEGMENT, settings.steps)
            state = advance(generator.synthesize, problem, settings, targets, state, first, end)
            state.loss.block_until_ready()
            if progress:
                progress((end - first) * pairs)
        return state.point, state.loss

    known = numbered(0, len(images)) if ids is None else ids
    starts = draw_starts(key, jnp.asarray(known), space, settings)
    return result(*map_chunks(search, jnp.asarray(images), starts, rows=rows, columns=columns))


def _check(generator: Generator, space: Space, images: ImageRows, settings: Settings) -> None:
    if len(images) == 0 or images.shape[1:] != generator.image_shape:
        raise ValueError(
            f"got images {images.shape}, expected one or more of {generator.image_shape}: "
            "resize them, or open the generator that they may come from"
        )
    if space.mean.shape != (generator.latent_dim,):
        raise ValueError(
            f"the space has {space.mean.shape[0]} dimensions, expected {generator.latent_dim}: "
            "fit the basis to this generator"
        )
    if settings.starts < 1 or settings.steps < 1:
        raise ValueError(
            f"got {settings.starts} starts of {settings.steps} steps, expected 1 or more: change the settings"
        )


def chunk_shape(images: int, starts: int, *, pairs: int, multiple: int) -> tuple[int, int]:
    """How many images, and how many starts of each, make a chunk of at most `pairs` pairs.

    All starts of an image go together where they fit, else in equal parts. The number of images is a multiple
    of `multiple`, even where that many do not fit.
    """
    parts = math.ceil(starts / pairs)
    columns = math.ceil(starts / parts)
    groups = min(math.ceil(images / multiple), max(1, pairs // (columns * multiple)))
    return groups * multiple, columns


def map_chunks(
    function: Callable[[Block, Block, int], PyTree[Any]],
    targets: Block,
    starts: Block,
    *,
    rows: int,
    columns: int,
) -> PyTree[Any]:
    """The results [b s …] of `function(targets [rows …], starts [rows columns …], pairs)` on all chunks.

    `pairs` counts the pairs of a chunk that are no filling. No pair may depend on another.
    """

    def over_starts(first: int) -> PyTree[Any]:
        some = targets[first : first + rows]
        parts = [
            chunk(some, starts[first : first + rows, i : i + columns])
            for i in range(0, starts.shape[1], columns)
        ]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *parts)

    def chunk(some: Block, some_starts: Block) -> PyTree[Any]:
        count, width = some_starts.shape[:2]
        filled = _filled(_filled(some_starts, columns, axis=1), rows, axis=0)
        found = function(_filled(some, rows, axis=0), filled, count * width)
        return jax.tree.map(lambda leaf: leaf[:count, :width], found)

    parts = [over_starts(first) for first in range(0, targets.shape[0], rows)]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _filled(block: Block, size: int, *, axis: int) -> Block:
    return jnp.take(block, jnp.minimum(jnp.arange(size), block.shape[axis] - 1), axis=axis)
