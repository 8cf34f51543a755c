"""What decides accuracy and quality, predicted from Jacobians: no image is attributed.

Near a latent w an image changes by J dw, J in coordinates along the principal axes, and what an attack leaves
of it is known up to errors of standard deviation `errors`. So the information about those coordinates is
H = Jᵀ diag(1/errors²) J, to which the content's prior adds 1/s². With the content estimated away, a code's
coordinates are known up to the covariance

    C = [ (H + diag(1/s² on the content, 0 on the code))⁻¹ ] of the code,

the inverse of the content's Schur complement, and bit i, whose levels are σ apart, is read wrong with the
chance Q(σ / 2 √C_ii). The mark changes a pixel's value by a mean square of

    (σ²/4 Σ_i G_ii + Σ_i s_i² G_ii) / pixels,    G = JᵀJ, i over the code's axes,

the second term because the code replaces the latent's own coordinates there (antipodal coding).

First order only: a search that ends beside the best place is not in it, nor are strengths at which the image
no longer changes in proportion. Source: docs/concepts.md; Nie et al. 2023, section 3.3, for the design
variables.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import ndtr

from latentfp.types import Latents

CHUNK = 64  # axes that are pushed at once
LEAST = 1e-12  # information below which nothing is known, in units of the largest

See = Callable[[Latents], Float[Array, "b p"]]


class Marking(NamedTuple):
    """Where and how strongly a code is written: the numbers of its axes, and σ in the latent's units."""

    axes: Sequence[int]
    sigma: float


def jacobian(see: See, w: Latents, axes: Float[Array, "q d"]) -> Float[np.ndarray, "b p q"]:
    """Changes of what is seen of latents `w` along unit `axes`. `see` is compiled once for each object."""
    parts = [np.asarray(_pushed(see, w, axes[i : i + CHUNK])) for i in range(0, len(axes), CHUNK)]
    return np.concatenate(parts, axis=2)


@partial(jax.jit, static_argnames="see")
def _pushed(see: See, w: Latents, axes: Float[Array, "q d"]) -> Float[Array, "b p q"]:
    def along(axis: Float[Array, " d"]) -> Float[Array, "b p"]:
        return jax.jvp(see, (w,), (jnp.broadcast_to(axis, w.shape),))[1]

    return jax.vmap(along, out_axes=2)(axes)


def information(
    changes: Float[np.ndarray, "b p q"], errors: Float[np.ndarray, " p"]
) -> Float[np.ndarray, "b q q"]:
    """H of every latent; values of infinite error are not seen at all."""
    weighed = changes.astype(np.float64) / errors[None, :, None]
    return np.einsum("bpi,bpj->bij", weighed, weighed, optimize=True)


def bit_errors(
    known: Float[np.ndarray, "n q q"], stds: Float[np.ndarray, " q"], marking: Marking
) -> Float[np.ndarray, "n k"]:
    """The chance that each bit is read wrong, at every latent; at most one half."""
    deviations = code_deviations(known, stds, marking.axes)
    return ndtr(-marking.sigma / 2 / deviations)


def code_deviations(
    known: Float[np.ndarray, "n q q"], stds: Float[np.ndarray, " q"], axes: Sequence[int]
) -> Float[np.ndarray, "n k"]:
    """√C_ii: standard deviations of a code's coordinates, with the content estimated away."""
    code = np.asarray(axes)
    content = np.delete(np.arange(len(stds)), code)
    found = np.empty((len(known), len(code)))
    for i, h in enumerate(known):
        inner = h[np.ix_(content, content)] + np.diag(1 / np.square(stds[content].astype(float)))
        across = h[np.ix_(content, code)]
        schur = h[np.ix_(code, code)] - across.T @ np.linalg.solve(inner, across)
        values, vectors = np.linalg.eigh((schur + schur.T) / 2)
        found[i] = np.sqrt(np.square(vectors) @ (1 / np.maximum(values, LEAST * values.max())))
    return found


def lone_deviations(
    known: Float[np.ndarray, "n q q"], stds: Float[np.ndarray, " q"]
) -> Float[np.ndarray, " q"]:
    """What `code_deviations` would be of each axis as a code of one bit, √ of the mean variance."""
    prior = 1 / np.square(stds.astype(float))
    variances = np.stack([np.diag(np.linalg.inv(h + np.diag(prior))) for h in known])
    informed = np.maximum(1 / variances - prior[None], LEAST)
    return np.sqrt((1 / informed).mean(axis=0))


def visible_change(
    visible: Float[np.ndarray, " q"], stds: Float[np.ndarray, " q"], marking: Marking, *, values: int
) -> float:
    """Mean squared change of a value of the image, in squared units of [-1, 1]; `values` of an image."""
    code = np.asarray(marking.axes)
    return float(visible[code] @ (marking.sigma**2 / 4 + np.square(stds[code].astype(float))) / values)
