"""The principal axes of the latent prior, and their split into content and code.

With mean mu and principal axes p_0, p_1, … of samples w of the prior (the variance falls with the index), a
code of k bits lives on V = rows shift … shift + k - 1, the content on U = the other r = d - k rows. V and U
are orthonormal, so

    w = mu + U^T alpha + V^T m,    alpha = U (w - mu) [r],    m = V (w - mu) [k],

all in the latent's own units.
Source: Nie et al. 2023, section 3; docs/concepts.md.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latentfp.types import Content, Latent

OVERSAMPLED = 16  # samples and directions beyond the axes of a search for leading ones
Samples = Float[np.ndarray, "n d"] | Float[Array, "n d"]
Batches = Iterable[Float[np.ndarray, "_ d"] | Float[Array, "_ d"]]  # of samples, seen once


class Basis(NamedTuple):
    """Mean, orthonormal principal axes (rows) and standard deviations of a prior.

    The variance falls with the row, in a basis of channels within each channel; but axes that were chosen for
    a code come last (`with_last`). A basis may hold only the leading q of the d axes; then `rest_std` is the
    standard deviation along every other direction, as in probabilistic PCA (Tipping and Bishop 1999, Journal
    of the Royal Statistical Society B 61, 611), and 0 where that is not known.
    """

    mean: Float[Array, " d"]
    axes: Float[Array, "q d"]
    stds: Float[Array, " q"]
    rest_std: Float[Array, ""] | float = 0.0


class Space(NamedTuple):
    """A basis split into the axes of the content (U, r = q - k rows) and those of the code (V, k rows)."""

    mean: Float[Array, " d"]
    content_axes: Float[Array, "r d"]
    content_stds: Float[Array, " r"]
    code_axes: Float[Array, "k d"]
    code_stds: Float[Array, " k"]
    rest_std: Float[Array, ""] | float = 0.0


def fit_basis(w: Samples) -> Basis:
    """The principal axes of samples `w` [n d], n > d.

    Variances are over n - 1, and the entry of largest magnitude in each axis is positive. Computed on the
    host in float64 and returned in float32: the axes that carry a code have the smallest variances, the first
    that a float32 covariance loses. ValueError for too few or non-finite samples.
    """
    samples = np.asarray(w, dtype=np.float64)
    n, d = samples.shape
    check_samples(n, d)
    if not np.isfinite(samples).all():
        raise ValueError("got non-finite samples, expected finite latents: check the generator's weights")
    mean = samples.mean(axis=0)
    centred = samples - mean
    variances, columns = symmetric(centred.T @ centred / (n - 1))
    stds = np.sqrt(np.maximum(variances[::-1], 0.0))
    return Basis(*(jnp.asarray(part, jnp.float32) for part in (mean, pointing_up(columns.T[::-1]), stds)))


def symmetric(matrix: np.ndarray, *, largest: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, rising, and eigenvectors as columns: all, or those of the `largest` eigenvalues."""
    import scipy.linalg  # only a fit needs it, and it takes a tenth of a second

    n = len(matrix)
    return scipy.linalg.eigh(matrix, subset_by_index=None if largest is None else (n - largest, n - 1))


def pointing_up(axes: Float[np.ndarray, "q d"]) -> Float[np.ndarray, "q d"]:
    """Axes of which the entry of largest magnitude is positive."""
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    return axes * np.sign(largest)[:, None]


def fit_channel_basis(w: Samples, *, channels: int) -> Basis:
    """The principal axes of each channel of samples `w` [n d], interleaved.

    Latents are flattened channel first: channel c is the c-th of `channels` equal parts. Row channels · i + c
    is axis i of that channel's own basis, zero outside it, so the axes are orthonormal but their variances
    need not fall from row to row, and axes of different channels may be correlated. ValueError where
    `channels` does not divide d, and as `fit_basis`, n > d / channels.
    """
    d = w.shape[1]
    if channels < 1 or d % channels:
        raise ValueError(f"{d} dimensions are not {channels} equal channels: expected a divisor of {d}")
    size = d // channels
    mean, axes, stds = np.zeros(d, np.float32), np.zeros((d, d), np.float32), np.zeros(d, np.float32)
    for channel in range(channels):
        part, rows = slice(channel * size, (channel + 1) * size), slice(channel, None, channels)
        mean[part], axes[rows, part], stds[rows] = fit_basis(w[:, part])[:3]
    return Basis(jnp.asarray(mean), jnp.asarray(axes), jnp.asarray(stds))


def with_last(basis: Basis, axes: Sequence[int]) -> Basis:
    """The same axes in another order: those numbered `axes` come last, so that a code may have them.

    ValueError unless they are different ones of the basis.
    """
    q = basis.axes.shape[0]
    last = np.asarray(axes, int)
    if len(set(axes)) != len(axes) or not all(0 <= axis < q for axis in axes):
        raise ValueError(f"axes {sorted(axes)} are not different ones of 0 … {q - 1}")
    order = np.concatenate([np.delete(np.arange(q), last), last])
    return basis._replace(axes=basis.axes[order], stds=basis.stds[order])


def split(basis: Basis, *, shift: int, bits: int) -> Space:
    """Give axes `shift` … `shift + bits - 1` to the code and all others to the content.

    Of a basis of q axes, `bits` is in 1 … q - 1 and `shift` in 0 … q - bits, else ValueError.
    """
    q = basis.axes.shape[0]
    check_place(q, shift=shift, bits=bits)
    code = np.arange(shift, shift + bits)
    content = np.delete(np.arange(q), code)
    split_axes = basis.axes[content], basis.stds[content], basis.axes[code], basis.stds[code]
    return Space(basis.mean, *split_axes, basis.rest_std)


def check_place(axes: int, *, shift: int, bits: int) -> None:
    """ValueError where a code does not fit a basis of so many axes, as by `split`."""
    if not 1 <= bits < axes:
        raise ValueError(
            f"a code of {bits} bits does not fit {axes} axes: expected 1 … {axes - 1}, change `bits`"
        )
    if not 0 <= shift <= axes - bits:
        raise ValueError(
            f"axes {shift} … {shift + bits - 1} are not all among the {axes} of this basis: "
            f"expected a shift of 0 … {axes - bits} for {bits} bits, change `shift`"
        )


def check_samples(samples: int, dimensions: int, *, axes: int | None = None, channels: int = 1) -> None:
    """ValueError where so few samples do not determine a basis: all axes, the leading ones, or by channel."""
    size = dimensions // channels
    if axes is not None and not 1 <= axes <= size:
        raise ValueError(f"a latent of {size} numbers has no {axes} axes: expected 1 … {size}, change `axes`")
    least = (size if axes is None else min(axes + OVERSAMPLED, size)) + 1
    if samples < least:
        raise ValueError(
            f"{samples} samples cannot determine {size if axes is None else axes} principal axes: "
            f"expected at least {least}, draw more"
        )


def content(space: Space, w: Latent) -> Content:
    """alpha = U (w - mu): the content of a latent."""
    return space.content_axes @ (w - space.mean)


def coordinates(space: Space, w: Latent) -> Float[Array, " k"]:
    """V (w - mu): the coordinates of a latent along the axes of the code."""
    return space.code_axes @ (w - space.mean)
