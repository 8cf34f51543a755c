"""Layers with equalised learning rate, and the modulated convolution.

Equalised learning rate: weights are stored with unit variance (divided by the learning-rate multiplier) and
scaled by 1/√fan_in times the multiplier when used, so that Adam's step has the same relative size in every
layer.

Modulation: with style s [in] the weight is W_ijk · s_i, demodulated by its norm over inputs and taps. Scaling
the *input* by s and the *output* by the reciprocal norm is algebraically the same and keeps one dense
convolution for the whole batch.

Source: Karras et al. 2020 (arXiv 1912.04958), section 2.2; Karras et al. 2018 (arXiv 1710.10196) for the
equalised learning rate.
"""

import math
from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from latentfp.generators.stylegan2 import ops
from latentfp.types import Params

normal = nn.initializers.normal


def apply(module: nn.Module, params: Params, *inputs: Any) -> Array:
    """The output of a module with these weights."""
    return cast(Array, module.apply({"params": params}, *inputs))


def leaky(x: Array, clamp: float | None = None, gain: float = 1.0) -> Array:
    """Leaky ReLU (slope 0.2) times √2 · gain, clipped to ± clamp · gain. Gain 1 keeps unit variance."""
    x = nn.leaky_relu(x, 0.2) * (math.sqrt(2.0) * gain)
    return x if clamp is None else jnp.clip(x, -clamp * gain, clamp * gain)


class EqualDense(nn.Module):
    """x W · (multiplier/√in) + multiplier · b, for x [b, in]."""

    features: int
    bias_init: float = 0.0
    lr_multiplier: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "b i"]) -> Float[Array, "b o"]:
        """[b, in] to [b, features]."""
        kernel = self.param("kernel", normal(1.0 / self.lr_multiplier), (x.shape[-1], self.features))
        bias = self.param(
            "bias", nn.initializers.constant(self.bias_init / self.lr_multiplier), (self.features,)
        )
        scale = self.lr_multiplier / math.sqrt(x.shape[-1])
        return x @ (kernel * scale) + (bias * self.lr_multiplier)[None]


class EqualConv(nn.Module):
    """Convolution [b, h, w, in] → [b, h', w', features] through `conv` (`ops.conv` or `ops.conv_down`)."""

    features: int
    kernel_size: int
    conv: Callable[..., Array] = ops.conv
    use_bias: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: ops.Features) -> ops.FeatureMap:
        """Scaled kernel, then bias."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", normal(1.0), shape) / math.sqrt(math.prod(shape[:3]))
        y = self.conv(x.astype(self.dtype), kernel.astype(self.dtype))
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + bias.astype(self.dtype)[None, None, None]
        return y


class ModulatedConv(nn.Module):
    """Convolution whose weights are scaled per image by a style that is an affine function of w [b, d]."""

    features: int
    kernel_size: int
    demodulate: bool = True
    conv: Callable[..., Array] = ops.conv
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: ops.Features, w: Float[Array, "b d"]) -> ops.FeatureMap:
        """Scale the input channels, convolve, scale the output channels."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", normal(1.0), shape) / math.sqrt(math.prod(shape[:3]))
        style = EqualDense(x.shape[-1], bias_init=1.0, name="affine")(w)
        y = self.conv((x * style[:, None, None]).astype(self.dtype), kernel.astype(self.dtype))
        if self.demodulate:
            energy = jnp.einsum("bi,io->bo", style**2, jnp.sum(kernel**2, (0, 1)))
            y = y * jnp.asarray(1.0 / jnp.sqrt(energy + 1e-8), self.dtype)[:, None, None]
        return y
