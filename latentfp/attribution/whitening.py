"""Coordinates of a fingerprint space in which the prior is white, and the mean curvature of the images there.

    theta = (alpha / s, 2 level') ~ N(0, I),    level' = level - (1/2 - offset),    w = origin + theta A

So the two levels of a bit are -1 and 1. A basis of leading axes alone leaves out the directions e of an
isotropic rest; then theta begins with d more numbers e ~ N(0, I), of which what lies along the axes is
dropped, and w = origin + theta A + rest (e - e Pᵀ P), P the axes. Nothing of size d x d is needed.

The mean curvature E[JᵀJ] of the limited images x = clip(g(w), -1, 1) is estimated with random signs v: since
E[v vᵀ] = I, it is the mean of (Jᵀv)(Jᵀv)ᵀ over samples of the prior. Its eigenvectors serve every image; of
more than MOST_EXACT coordinates only those that a few probes determine, and a mean along all others.
Source: docs/concepts.md; Hutchinson (1990), doi:10.1080/03610919008812866.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latentfp import rng
from latentfp.choices import Coding
from latentfp.fingerprint.basis import Space
from latentfp.generators.generator import Generator
from latentfp.runtime.progress import track
from latentfp.types import Images, Key, Latents, Params

MOST_EXACT = 4096  # coordinates of which the whole curvature is kept: 64 MB
Thetas = Float[Array, "b q"]


class Whitened(NamedTuple):
    """The coordinates: those of the rest, if there is one, the content, and the code.

    `rest`: its standard deviation along each of the latent's numbers; empty where rows are a whole basis, or
    where it is not known.
    """

    origin: Float[Array, " d"]
    rows: Float[Array, "q d"]
    rest: Float[Array, " m"]

    @property
    def size(self) -> int:
        """How many coordinates there are."""
        return self.rest.shape[0] + self.rows.shape[0]

    @property
    def whole(self) -> bool:
        """Whether they are those of all latents."""
        return self.rest.shape[0] > 0 or self.rows.shape[0] == self.rows.shape[1]


class Curvature(NamedTuple):
    """E[JᵀJ] = Q diag(eigenvalues) Qᵀ + rest (I - Q Qᵀ) in whitened coordinates; eigenvalues rise."""

    eigenvalues: Float[Array, " r"]
    eigenvectors: Float[Array, "d r"]
    rest: Float[Array, ""]


def whiten(space: Space, *, sigma: float, coding: Coding) -> Whitened:
    """Coordinates in which the prior is N(0, I)."""
    rows = jnp.concatenate([space.content_axes * space.content_stds[:, None], space.code_axes * (sigma / 2)])
    origin = space.mean + sigma * (0.5 - coding.offset) * jnp.sum(space.code_axes, axis=0)
    known = rows.shape[0] < rows.shape[1] and float(space.rest_std) > 0
    return Whitened(origin, rows, jnp.full(rows.shape[1] * known, space.rest_std, jnp.float32))


def latents(space: Whitened, theta: Thetas) -> Latents:
    """The latents at these coordinates; without those of the rest, that is 0."""
    held = space.rows.shape[0]
    inside = space.origin[None] + theta[:, -held:] @ space.rows
    if theta.shape[1] == held:
        return inside
    axes = space.rows / jnp.linalg.norm(space.rows, axis=1, keepdims=True)
    outside = theta[:, :-held] * space.rest[None]
    return inside + outside - (outside @ axes.T) @ axes


def render(generator: Generator, params: Params, space: Whitened, theta: Thetas) -> Images:
    """The images of coordinates, limited to [-1, 1] as the pixels of every file are."""
    return jnp.clip(generator.synthesize(params, latents(space, theta)), -1, 1)


def mean_curvature(
    generator: Generator, params: Params, space: Whitened, key: Key, *, batch: int, probes: int
) -> Curvature:
    """The mean curvature from probes of Jᵀ at prior samples.

    `probes` is rounded up to a multiple of `batch`, the images of one program call.
    """
    calls = math.ceil(probes / batch)
    pulled = (
        np.asarray(_probe(generator, params, space, rng.stream(key, "probe", i), batch), np.float64)
        for i in track(range(calls), "how the generator's images change with its latents")
    )
    if space.size > MOST_EXACT:
        return _of_few(np.concatenate([part.astype(np.float32) for part in pulled]))
    curvature = np.zeros((space.size, space.size))
    for part in pulled:
        curvature += part.T @ part
    values, vectors = np.linalg.eigh(curvature / (batch * calls))
    return Curvature(_float(np.maximum(values, 0)), _float(vectors), _float(0.0))


def _of_few(pulled: Float[np.ndarray, "n d"]) -> Curvature:
    """From n < d probes: half as many eigenvectors, and the mean along all other directions."""
    n, d = pulled.shape
    values, turn = np.linalg.eigh(pulled.astype(np.float64) @ pulled.T)
    kept = values[-(n // 2) :]
    vectors = (pulled.T @ turn[:, -(n // 2) :]) / np.sqrt(np.maximum(kept, 1e-30))
    left = values[: -(n // 2)].sum() / n / (d - len(kept))
    return Curvature(_float(kept / n), _float(vectors), _float(left))


def _float(values: np.ndarray | float) -> Array:
    return jnp.asarray(values, jnp.float32)


@partial(jax.jit, static_argnames=("generator", "n"))
def _probe(generator: Generator, params: Params, space: Whitened, key: Key, n: int) -> Thetas:
    theta = jax.random.normal(rng.stream(key, "theta"), (n, space.size))
    images, pull = jax.vjp(partial(render, generator, params, space), theta)
    return pull(jax.random.rademacher(rng.stream(key, "sign"), images.shape, images.dtype))[0]
