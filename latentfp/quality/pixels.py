"""Distances and similarities of two images, computed from pixels alone.

    mse         mean of (a - b)²
    psnr        10 log10(2² / mse) dB: the range [-1, 1] is 2 wide
    ssim        Wang et al. 2004: means, variances and covariance under a Gaussian window of 11 pixels,
                sigma 1.5, K = (0.01, 0.03), wherever the window lies inside the image; mean over places
                and channels
    multiscale  mean over a pyramid of the mean squared difference; a level is the 2×2 average of the one
                below, and the last is the smallest that can be made with at least 4 pixels a side

`multiscale` is the distance of an attribution that needs no network: coarse levels give a search its way,
fine ones its precision. Images are in [-1, 1] nominally; all four accept values outside and are
differentiable (psnr and its gradient are infinite for equal images).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latentfp.types import Image, Scalar

RANGE = 2.0
WINDOW = 11


def mse(a: Image, b: Image) -> Scalar:
    """Mean squared difference, in squared units of the range [-1, 1]."""
    return jnp.mean(jnp.square(a - b))


def psnr(a: Image, b: Image) -> Scalar:
    """Peak signal-to-noise ratio of images in [-1, 1], in dB; infinite for equal images.

    >>> import jax.numpy as jnp
    >>> round(float(lf.psnr(jnp.zeros((8, 8, 3)), jnp.full((8, 8, 3), 0.2))), 3)
    20.0
    """
    return 10 * jnp.log10(RANGE**2 / mse(a, b))


def ssim(a: Image, b: Image) -> Scalar:
    """Structural similarity, 1 for equal images. Sides of at least 11 pixels, else ValueError."""
    h, w, _ = a.shape
    if min(h, w) < WINDOW:
        raise ValueError(f"SSIM of images of {h}x{w}: its window needs at least {WINDOW}x{WINDOW} pixels")

    def local(x: Image) -> Float[Array, "i j 3"]:
        rows, columns = _window_matrix(h), _window_matrix(w)
        return jnp.einsum("ih,hwc,jw->ijc", rows, x, columns, precision=jax.lax.Precision.HIGHEST)

    mean_a, mean_b = local(a), local(b)
    variances = local(a * a) - mean_a**2 + local(b * b) - mean_b**2
    covariance = local(a * b) - mean_a * mean_b
    tiny_mean, tiny_variance = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    luminance = (2 * mean_a * mean_b + tiny_mean) / (mean_a**2 + mean_b**2 + tiny_mean)
    return jnp.mean(luminance * (2 * covariance + tiny_variance) / (variances + tiny_variance))


def multiscale(a: Image, b: Image) -> Scalar:
    """Mean over the levels of the pyramid of the mean squared difference.

    A level is halved while both sides are even and at least 8; 64×64 has five levels, 64 to 4.
    """
    difference = a - b
    levels = [jnp.mean(jnp.square(difference))]
    while all(side % 2 == 0 and side >= 8 for side in difference.shape[:2]):
        difference = halved(difference)
        levels.append(jnp.mean(jnp.square(difference)))
    return jnp.mean(jnp.stack(levels))


def halved(x: Float[Array, "h w c"], over: Callable[..., Array] = jnp.mean) -> Float[Array, "i j c"]:
    """The mean, or another function, over 2×2 places; an odd last row or column is dropped."""
    h, w, c = x.shape
    return over(x[: h // 2 * 2, : w // 2 * 2].reshape(h // 2, 2, w // 2, 2, c), axis=(1, 3))


def _window_matrix(n: int) -> Float[np.ndarray, "i n"]:
    """Row i holds the Gaussian weights of pixels i … i + 10 of a line."""
    offset = np.arange(n)[None, :] - np.arange(n - WINDOW + 1)[:, None] - WINDOW // 2
    weights = np.where(np.abs(offset) <= WINDOW // 2, np.exp(-0.5 * (offset / 1.5) ** 2), 0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
