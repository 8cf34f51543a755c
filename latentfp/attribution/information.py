"""How well an image determines its code: the local Fisher information, and the soft bits that follow.

At the end of a descent the posterior of theta is normal with precision JᵀJ/scale² + I. J is taken in the
leading eigenvectors of the mean curvature, by Jacobian-vector products in chunks; along the others the mean
curvature stands in (rank d: the exact information). The covariance comes from a Cholesky factor.

The levels of a bit are -1 and 1, so with posterior mean m and variance v of its coordinate the log-likelihood
ratio is 2 m / v: prior N(0, 1) and a measurement of variance v' give m / v = measured / v'.
Source: docs/concepts.md.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from latentfp.attribution.observation import Observation
from latentfp.attribution.refine import Model, PerImage, Point, Problem, predicted, sharpness
from latentfp.generators.generator import Generator

CHUNK = 16  # tangents that are pushed at once
Variances = Float[Array, "b k"]


@partial(jax.jit, static_argnames=("observation", "generator", "bits", "rank"))
def code_variances(
    observation: Observation,
    generator: Generator,
    model: Model,
    problem: Problem,
    point: Point,
    scale: PerImage,
    *,
    bits: int,
    rank: int,
) -> Variances:
    """Posterior variances of the code's coordinates, from 1 + `rank` + `observation.free` passes an image."""
    d = model.space.size
    leading = model.curvature.eigenvectors[:, -rank:]
    columns = jnp.zeros((point.shape[1], rank + observation.free))
    columns = columns.at[:d, :rank].set(leading).at[d:, rank:].set(jnp.eye(observation.free))
    _, push = jax.linearize(partial(predicted, observation, generator, model, problem), point)
    pushed = _pushed(push, point, columns) / scale[:, None, None]
    precision = jnp.einsum("bpi,bpj->bij", pushed, pushed) + jnp.eye(columns.shape[1])[None]
    code = columns[d - bits : d]
    half = jax.vmap(lambda lower: jax.scipy.linalg.solve_triangular(lower, code.T, lower=True))(
        jnp.linalg.cholesky(precision)
    )
    return jnp.sum(half**2, axis=1) + mean_variances(model, problem, scale, bits=bits, beyond=rank)


@partial(jax.jit, static_argnames=("bits", "beyond"))
def mean_variances(
    model: Model, problem: Problem, scale: PerImage, *, bits: int, beyond: int = 0
) -> Variances:
    """Posterior variances by the mean curvature alone, from no pass at all.

    Of the eigenvectors, only those beyond the `beyond` leading ones count.
    """
    values, vectors, rest = model.curvature
    count, weight = values.shape[0] - beyond, sharpness(problem) / scale**2
    shares = jnp.square(vectors[-bits:])
    along = (1 / (values[None, :count] * weight[:, None] + 1)) @ shares[:, :count].T
    if values.shape[0] == vectors.shape[0]:
        return along
    others = jnp.maximum(0, 1 - jnp.sum(shares, axis=1))[None]
    return along + others / (rest * weight[:, None] + 1)


def _pushed(
    push: Callable[[Point], Array], point: Point, columns: Float[Array, "q n"]
) -> Float[Array, "b p n"]:
    """The images of all columns under the Jacobian, the same columns for every image of the batch."""

    def along(column: Float[Array, " q"]) -> Array:
        return push(jnp.broadcast_to(column, point.shape))

    parts = [
        jax.vmap(along, in_axes=1, out_axes=2)(columns[:, i : i + CHUNK])
        for i in range(0, columns.shape[1], CHUNK)
    ]
    return jnp.concatenate(parts, axis=2)


def soft_bits(mean: Float[Any, "b k"], variance: Float[Any, "b k"]) -> Float[Any, "b k"]:
    """Log-likelihood ratios of the bits, positive for a set one."""
    return 2 * mean / variance
