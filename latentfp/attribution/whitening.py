"""Coordinates of a fingerprint space in which the prior is white, and the mean curvature of the images there.

    theta = (alpha / s, 2 level') ~ N(0, I),    level' = level - (1/2 - offset),    w = origin + theta A

So the two levels of a bit are -1 and 1. The mean curvature E[JᵀJ] of the limited images x = clip(g(w), -1, 1)
is estimated with random signs v: since E[v vᵀ] = I, it is the mean of (Jᵀv)(Jᵀv)ᵀ over samples of the prior.
Its eigenvectors serve every image.
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
from latentfp.types import Images, Key, Latents, Params

Thetas = Float[Array, "b q"]


class Whitened(NamedTuple):
    """The coordinates: content first, then the code. A basis of leading axes only has q < d of them."""

    origin: Float[Array, " d"]
    rows: Float[Array, "q d"]


class Curvature(NamedTuple):
    """E[JᵀJ] = Q diag(eigenvalues) Qᵀ in whitened coordinates."""

    eigenvalues: Float[Array, " d"]
    eigenvectors: Float[Array, "d d"]


def whiten(space: Space, *, sigma: float, coding: Coding) -> Whitened:
    """Coordinates in which the prior is N(0, I)."""
    rows = jnp.concatenate([space.content_axes * space.content_stds[:, None], space.code_axes * (sigma / 2)])
    return Whitened(space.mean + sigma * (0.5 - coding.offset) * jnp.sum(space.code_axes, axis=0), rows)


def latents(space: Whitened, theta: Thetas) -> Latents:
    """The latents at these coordinates."""
    return space.origin[None] + theta @ space.rows


def render(generator: Generator, params: Params, space: Whitened, theta: Thetas) -> Images:
    """The images of coordinates, limited to [-1, 1] as the pixels of every file are."""
    return jnp.clip(generator.synthesize(params, latents(space, theta)), -1, 1)


def mean_curvature(
    generator: Generator, params: Params, space: Whitened, key: Key, *, batch: int, probes: int
) -> Curvature:
    """The mean curvature from probes of Jᵀ at prior samples.

    `probes` is rounded up to a multiple of `batch`, the images of one program call.
    """
    d, calls = space.rows.shape[0], math.ceil(probes / batch)
    curvature = np.zeros((d, d))
    for i in range(calls):
        pulled = np.asarray(_probe(generator, params, space, rng.stream(key, "probe", i), batch), np.float64)
        curvature += pulled.T @ pulled
    values, vectors = np.linalg.eigh(curvature / (batch * calls))
    return Curvature(jnp.asarray(np.maximum(values, 0), jnp.float32), jnp.asarray(vectors, jnp.float32))


@partial(jax.jit, static_argnames=("generator", "n"))
def _probe(generator: Generator, params: Params, space: Whitened, key: Key, n: int) -> Thetas:
    theta = jax.random.normal(rng.stream(key, "theta"), (n, space.rows.shape[0]))
    images, pull = jax.vjp(partial(render, generator, params, space), theta)
    return pull(jax.random.rademacher(rng.stream(key, "sign"), images.shape, images.dtype))[0]
