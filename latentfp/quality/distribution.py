"""How alike two sets of images are, given their features.

Fréchet distance of the Gaussians with the sets' means m and covariances C (Dowson and Landau 1982; Heusel et
al. 2017):

    |m_a - m_b|² + tr(C_a + C_b - 2 (C_a^½ C_b C_a^½)^½)

With C_a = RᵀR the eigenvalues below the last root are those of R C_b Rᵀ, besides zeros, so few samples take
little time.

Precision: the share of generated images that lie within the neighbourhood of a real one; recall: the
converse. The neighbourhood of an image is the ball that reaches its k-th nearest neighbour in its own set
(Kynkäänniemi et al. 2019).

NumPy and float64: small differences of large sums. For n samples of f features the Fréchet distance of equal
distributions is not 0 but falls like 1 / n; compare sets of equal sizes, and let n be many times f.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

ROWS = 1024  # samples whose distances to all others are held at once


class PrecisionRecall(NamedTuple):
    """Fidelity and diversity, each a share in [0, 1]."""

    precision: float
    recall: float


def frechet_distance(a: Float[np.ndarray, "n f"], b: Float[np.ndarray, "m f"]) -> float:
    """Squared Fréchet distance, in squared units of the features; at least 2 samples in each set."""
    (mean_a, centred_a), (mean_b, centred_b) = _centred(a), _centred(b)
    turned = centred_b @ _factor(centred_a).T
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(turned.T @ turned), 0)).sum()
    spread = np.square(centred_a).sum() + np.square(centred_b).sum()
    return float(np.square(mean_a - mean_b).sum() + spread - 2 * overlap)


def precision_recall(
    real: Float[np.ndarray, "n f"], generated: Float[np.ndarray, "m f"], *, neighbours: int = 3
) -> PrecisionRecall:
    """Precision and recall; a neighbourhood reaches the `neighbours`-th nearest image of its own set."""
    smallest = min(len(real), len(generated))
    if not 1 <= neighbours < smallest:
        raise ValueError(
            f"neighbours {neighbours} in sets of {smallest} images or more: expected 1 to {smallest - 1}"
        )
    around_real, around_generated = _squared_radius(real, neighbours), _squared_radius(generated, neighbours)
    covered, covering = np.zeros(len(generated), bool), np.zeros(len(real), bool)
    for rows in _blocks(len(real)):
        across = _squared_distances(real[rows], generated)
        covered |= (across <= around_real[rows, None]).any(axis=0)
        covering[rows] = (across <= around_generated).any(axis=1)
    return PrecisionRecall(float(covered.mean()), float(covering.mean()))


def _centred(features: Float[np.ndarray, "n f"]) -> tuple[Float[np.ndarray, " f"], Float[np.ndarray, "n f"]]:
    """The mean m, and X with the covariance XᵀX."""
    if len(features) < 2 or not np.isfinite(features).all():
        raise ValueError(
            f"features of shape {features.shape}: expected at least 2 samples, all finite; "
            "look for images that are not finite"
        )
    features = features.astype(np.float64)
    mean = features.mean(0)
    return mean, (features - mean) / np.sqrt(len(features) - 1)


def _factor(centred: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "r f"]:
    """R with RᵀR = XᵀX, and as few rows as X has rows or columns."""
    if len(centred) < centred.shape[1]:
        return centred
    values, axes = np.linalg.eigh(centred.T @ centred)
    return np.sqrt(np.maximum(values, 0))[:, None] * axes.T


def _squared_distances(a: Float[np.ndarray, "n f"], b: Float[np.ndarray, "m f"]) -> Float[np.ndarray, "n m"]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.maximum(np.square(a).sum(1)[:, None] - 2 * a @ b.T + np.square(b).sum(1)[None, :], 0)


def _squared_radius(features: Float[np.ndarray, "n f"], neighbours: int) -> Float[np.ndarray, " n"]:
    """The nearest to an image is itself, so its k-th neighbour is the (k + 1)-th smallest distance."""
    nearest = [
        np.partition(_squared_distances(features[rows], features), neighbours, axis=1)[:, neighbours]
        for rows in _blocks(len(features))
    ]
    return np.concatenate(nearest)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(first, first + ROWS) for first in range(0, count, ROWS))
