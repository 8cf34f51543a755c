"""The leading principal axes of more, or longer, latents than fit into memory: one pass, in batches.

What is known of samples is a Summary, and two of them are merged exactly, up to the axes that are dropped:
scaled axes whose outer products add up to the scatter, as by incremental singular value decomposition. So
samples may come from files, from a generator, or in parts from several devices and machines, in any order.
Source: Ross, Lim, Lin and Yang, "Incremental learning for robust visual tracking", International Journal of
Computer Vision 77 (2008), 125–141, section 3.2, which follows the mean too.
"""

from functools import reduce
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from latentfp.fingerprint.basis import (
    OVERSAMPLED,
    Basis,
    Batches,
    Samples,
    check_samples,
    pointing_up,
    symmetric,
)

FLAT = 1e-7  # of the longest axis: what rounding alone makes of none
KEPT = 2  # times the axes that are wanted: what later samples may bring forward


class Summary(NamedTuple):
    """Of `count` samples: their mean, and r rows whose outer products add up to the scatter
    Σ (w - mean)(w - mean)ᵀ but for what was dropped; `trace` is that of all of it."""

    count: int
    mean: Float[np.ndarray, " d"]
    rows: Float[np.ndarray, "r d"]
    trace: float


def fit_leading(batches: Batches, *, axes: int) -> Basis:
    """The `axes` leading principal axes of samples [n d] that come in batches, each of which is seen once.

    In float64 and batch by batch: beside a batch it needs 2 (axes + 16) rows of d. Axes of variances that lie
    close together come out as rotations of each other; what is dropped on the way lowers deviations of the
    last axes by less than the samples' own error. ValueError as `fit_basis`, for n <= axes + 16 in all, and
    where they vary along fewer directions.
    """
    keep = KEPT * (axes + OVERSAMPLED)
    found = reduce(lambda one, batch: merge(one, summarise(batch), keep=keep), batches, None)
    if found is None:
        raise ValueError("no samples: there are no principal axes")
    return leading(found, axes=axes)


def summarise(batch: Samples) -> Summary:
    """What there is to know of samples [n d]. ValueError if they are not finite."""
    samples = np.asarray(batch, np.float64)
    if not np.isfinite(samples).all():
        raise ValueError("got non-finite samples, expected finite latents: check the generator's weights")
    mean = samples.mean(axis=0)
    samples = samples - mean
    return Summary(len(samples), mean, samples, float(np.sum(samples**2)))


def merge(one: Summary | None, other: Summary, *, keep: int) -> Summary:
    """Of both samples together, with at most `keep` rows, which are orthogonal."""
    if one is None:
        return other
    count = one.count + other.count
    apart = other.mean - one.mean
    between = np.sqrt(one.count * other.count / count) * apart
    rows = _orthogonal(np.concatenate([one.rows, other.rows, between[None]]), keep=keep)
    mean = one.mean + apart * (other.count / count)
    return Summary(count, mean, rows, one.trace + other.trace + float(between @ between))


def leading(found: Summary, *, axes: int) -> Basis:
    """The basis of so many axes of what is known. ValueError for too few samples."""
    d, degrees = len(found.mean), found.count - 1
    check_samples(found.count, d, axes=axes)
    scaled = _orthogonal(found.rows, keep=axes)
    lengths = np.linalg.norm(scaled, axis=1)
    if lengths.min() <= FLAT * lengths.max():
        raise ValueError(
            f"the samples vary along fewer than {axes} directions: change `axes`, or draw others"
        )
    left = max(0.0, found.trace - float(lengths @ lengths)) / degrees / max(1, d - axes)
    arrays = found.mean, pointing_up(scaled / lengths[:, None]), lengths / np.sqrt(degrees), np.sqrt(left)
    return Basis(*(jnp.asarray(array, jnp.float32) for array in arrays))


def _orthogonal(rows: Float[np.ndarray, "n d"], *, keep: int) -> Float[np.ndarray, "r d"]:
    """At most `keep` orthogonal rows, the longest first, with nearly the same sum of outer products."""
    _, turn = symmetric(rows @ rows.T, largest=min(keep, *rows.shape))
    return turn.T[::-1] @ rows
