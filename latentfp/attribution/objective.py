"""What a search minimises: how badly content alpha and code logits kappa explain an image x,

    distance(x, g(w)) + penalty Σ_i relu(|alpha_i| - 3 s_i),
    w = mu + U^T alpha + sigma V^T (sigmoid(kappa) - offset).

alpha, s and sigma are in the latent's units.
Source: docs/concepts.md; Nie et al. 2023, section 3.2.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from latentfp.fingerprint.basis import Space
from latentfp.fingerprint.embed import Strength, compose
from latentfp.types import Image, Images, Latents, Params, Scalar

Distance = Callable[[Image, Image], Scalar]  # of the target and an image, in that order
Synthesize = Callable[[Params, Latents], Images]
Contents = Float[Array, "b s r"]
Losses = Float[Array, "b s"]


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


def objective(synthesize: Synthesize, problem: Problem, targets: Images, point: Point) -> Losses:
    """The loss of every start of every target; the generator sees them all as one batch [b s, d]."""
    write = partial(compose, problem.space, sigma=problem.sigma)
    w = jax.vmap(jax.vmap(write))(point.alpha, jax.nn.sigmoid(point.kappa) - problem.offset)
    images = synthesize(problem.params, w.reshape(-1, w.shape[-1]))
    images = images.reshape(*w.shape[:2], *images.shape[1:])
    distances = jax.vmap(jax.vmap(problem.distance, (None, 0)))(targets, images)
    beyond = jax.nn.relu(jnp.abs(point.alpha) - 3 * problem.space.content_stds[None, None])
    return distances + problem.penalty * beyond.sum(axis=-1)
