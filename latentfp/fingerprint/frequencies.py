"""Principal axes of latent maps that look the same everywhere: spatial frequencies of mixed channels.

Where the statistics of maps [c, s, s] do not depend on the place, their principal axes are known up to the
mixture of channels: cosines, those of the discrete cosine transform, times an eigenvector of the channels'
covariance at that frequency. So a hundred latents show all axes of maps of any size, the last ones too, which
hold least of the content; and an axis needs no samples of its own. The channels' directions are those of a
ring of neighbouring frequencies, the deviations of every frequency its own.
Source: docs/concepts.md; Ahmed, Natarajan and Rao 1974 (IEEE Transactions on Computers C-23, 90).
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from latentfp.fingerprint.basis import Basis, Batches, Samples, check_place, symmetric

RINGS = 8  # of frequencies that share the channels' directions
SAMPLES = 8  # times as many samples as channels are needed


def fit_frequency_basis(batches: Batches, *, channels: int, shift: int, bits: int, content: int) -> Basis:
    """A basis of the `content` leading axes and, after them, axes `shift` … `shift + bits - 1` of all d by
    falling variance; how the others vary is `rest_std`.

    Samples [n d] are flattened channel, row, column, of square maps, and seen once. ValueError for other
    maps, for fewer than 8 samples a channel or samples that are not finite, and unless
    content ≤ shift ≤ d - bits.
    """
    count, total, squares = 0, 0.0, 0.0
    for batch in batches:
        maps = _maps(batch, channels)
        spectra = _cosines(maps)
        count += len(maps)
        total = total + maps.mean(axis=(2, 3)).sum(axis=0)
        squares = squares + np.einsum("ncij,neij->ijce", spectra, spectra, optimize=True)
    _check_count(count, channels)
    mean, covariance = np.asarray(total) / count, np.asarray(squares) / count
    side = len(covariance)
    check_place(channels * side**2, shift=shift, bits=bits)
    if not 1 <= content <= shift:
        raise ValueError(f"{content} leading axes do not lie before axis {shift}, where the code begins")
    covariance[0, 0] -= side**2 * np.outer(mean, mean)
    directions = _directions(covariance)
    variances = np.einsum("ijkc,ijce,ijke->ijk", directions, covariance, directions, optimize=True).ravel()
    order = np.argsort(-variances, kind="stable")
    chosen = np.concatenate([order[:content], order[shift : shift + bits]])
    rest = (variances.sum() - variances[chosen].sum()) / (len(variances) - len(chosen))
    arrays = np.repeat(mean, side**2), _axes(directions, chosen), np.sqrt(np.maximum(variances[chosen], 0))
    return Basis(*(jnp.asarray(array, jnp.float32) for array in (*arrays, np.sqrt(max(rest, 0)))))


def check_frequencies(samples: int, dimensions: int, *, channels: int) -> None:
    """ValueError for latents that are no square maps, and for too few samples, before there are any."""
    _side(dimensions, channels)
    _check_count(samples, channels)


def _side(dimensions: int, channels: int) -> int:
    """Of the maps. ValueError where they are not square."""
    side = math.isqrt(dimensions // channels)
    if channels * side**2 != dimensions:
        raise ValueError(f"latents of {dimensions} numbers are not {channels} channels of square maps")
    return side


def _check_count(samples: int, channels: int) -> None:
    if samples < SAMPLES * channels:
        raise ValueError(
            f"{samples} samples cannot determine the frequencies of {channels} channels: "
            f"expected at least {SAMPLES * channels}"
        )


def _maps(batch: Samples, channels: int) -> Float[np.ndarray, "n c s s"]:
    samples = np.asarray(batch, np.float64)
    side = _side(samples.shape[1], channels)
    if not np.isfinite(samples).all():
        raise ValueError("got non-finite samples, expected finite latents: check the generator's weights")
    return samples.reshape(-1, channels, side, side)


def _cosines(maps: Float[np.ndarray, "... s s"]) -> Float[np.ndarray, "... s s"]:
    import scipy.fft  # only a fit needs it

    return np.asarray(scipy.fft.dctn(maps, axes=(-2, -1), norm="ortho"))


def _directions(covariance: Float[np.ndarray, "s s c c"]) -> Float[np.ndarray, "s s c c"]:
    """Orthonormal mixtures of channels (rows) at every frequency, of which the first varies most."""
    side = len(covariance)
    ring = np.maximum(*np.indices((side, side))) * RINGS // side
    found = np.empty_like(covariance)
    for number in range(RINGS):
        here = ring == number
        if here.any():
            found[here] = symmetric(covariance[here].mean(axis=0))[1].T[::-1]
    return found


def _axes(directions: Float[np.ndarray, "s s c c"], chosen: np.ndarray) -> Float[np.ndarray, "q d"]:
    import scipy.fft

    side, _, channels, _ = directions.shape
    row, column, number = np.unravel_index(chosen, (side, side, channels))
    spectra = np.zeros((len(chosen), channels, side, side))
    spectra[np.arange(len(chosen)), :, row, column] = directions[row, column, number]
    return np.asarray(scipy.fft.idctn(spectra, axes=(2, 3), norm="ortho")).reshape(len(chosen), -1)
