"""Convolutions and FIR resampling of StyleGAN2, written so that they are fast on CPUs too.

Resampling by two uses the separable filter [1, 3, 3, 1]/8. A stride-2 transposed convolution is written as
one matrix product per pixel followed by adding the nine shifted results, and a stride-2 convolution as its
mirror image: on XLA's CPU backend the weight gradients (and second derivatives) of the equivalent dilated
convolutions are about ten times slower. Feature maps are [b, h, w, c]; kernels are [kh, kw, in, out] and
correlate (no flip). Source: Karras et al. 2020 (arXiv 1912.04958), appendix B.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Features = Float[Array, "b h w c"]
FeatureMap = Float[Array, "b h2 w2 c2"]
Kernel = Float[Array, "kh kw c c2"]

FIR = (0.125, 0.375, 0.375, 0.125)


def pad_axis(x: Array, axis: int, before: int, after: int) -> Array:
    """Zero padding of one axis."""
    return jnp.pad(x, [(before, after) if i == axis else (0, 0) for i in range(x.ndim)])


def filter_axis(x: Features, axis: int, pad: tuple[int, int], gain: float) -> FeatureMap:
    """Correlate one spatial axis with `gain` times the FIR filter, after zero padding."""
    x = pad_axis(x, axis, *pad)
    size = x.shape[axis] - len(FIR) + 1
    first, *others = (gain * tap * lax.slice_in_dim(x, i, i + size, axis=axis) for i, tap in enumerate(FIR))
    return sum(others, first)


def blur(x: Features, pad: tuple[int, int], gain: float = 1.0) -> FeatureMap:
    """The FIR filter along both axes; `gain` applies once per axis. Sizes change by sum(pad) - 3."""
    return filter_axis(filter_axis(x, 1, pad, gain), 2, pad, gain)


def interleave(even: Array, odd: Array, axis: int) -> Array:
    """even[0], odd[0], even[1], odd[1], … along `axis`."""
    shape = list(even.shape)
    shape[axis] *= 2
    return jnp.stack([even, odd], axis + 1).reshape(shape)


def upsample(x: Features) -> FeatureMap:
    """Twice the size: zeros between the samples, then the FIR filter with gain 2 per axis."""
    for axis in (1, 2):
        before, after = pad_axis(x, axis, 1, 0), pad_axis(x, axis, 0, 1)
        n = x.shape[axis]
        near, far = 2 * FIR[1], 2 * FIR[0]
        left = lax.slice_in_dim(before, 0, n, axis=axis)
        right = lax.slice_in_dim(after, 1, n + 1, axis=axis)
        x = interleave(near * x + far * left, near * x + far * right, axis)
    return x


def conv(x: Features, kernel: Kernel) -> FeatureMap:
    """Plain correlation, zero padded to keep the size."""
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def overlap_add(taps: Array, axis: int, tap_axis: int) -> Array:
    """Add three taps (the axis `tap_axis`) that lie at 2i, 2i + 1, 2i + 2 along `axis`: n becomes 2n + 1."""
    first, middle, last = (lax.index_in_dim(taps, i, tap_axis, keepdims=False) for i in range(3))
    even = pad_axis(first, axis, 0, 1) + pad_axis(last, axis, 1, 0)
    odd = pad_axis(middle, axis, 0, 1)
    return lax.slice_in_dim(interleave(even, odd, axis), 0, 2 * first.shape[axis] + 1, axis=axis)


def conv_up(x: Features, kernel: Kernel) -> FeatureMap:
    """Stride-2 transposed 3×3 convolution, then the FIR filter: twice the size."""
    taps = jnp.einsum("bhwc,ijcf->bhwijf", x, kernel)
    return blur(overlap_add(overlap_add(taps, 1, 3), 2, 3), (1, 1), gain=2.0)


def conv_down(x: Features, kernel: Kernel) -> FeatureMap:
    """The FIR filter, then a stride-2 convolution (3×3 or 1×1): half the size."""
    size = kernel.shape[0]
    x = blur(x, ((size + 1) // 2, (size + 1) // 2))
    h, w = (2 * ((side - size) // 2) + 1 for side in x.shape[1:3])
    taps = [[x[:, i : i + h : 2, j : j + w : 2] for j in range(size)] for i in range(size)]
    return jnp.einsum("ijbhwc,ijcf->bhwf", jnp.stack([jnp.stack(row) for row in taps]), kernel)
