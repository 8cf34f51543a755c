"""StyleGAN2 in float64 NumPy, from the papers' definitions.

Zeros are inserted and the whole 4×4 filter applied, transposed convolutions scatter, modulation and
demodulation act on the weights of each image. Slow, and independent of latentfp but for the names in the
parameter tree.
"""

import math

import jax
import numpy as np

FIR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def wide(x) -> np.ndarray:
    return np.asarray(x, np.float64)


def random_params(module, *inputs, seed=0):
    """Normal numbers in every slot of a Flax module, also in those that start at zero or one."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: np.asarray(draw.normal(size=leaf.shape), np.float32), shapes)


def correlate(x, kernel, pad, stride=1):
    """Sums of windows of x [b h w c] times the kernel [kh kw c f]."""
    x = np.pad(wide(x), [(0, 0), (pad[0], pad[1]), (pad[0], pad[1]), (0, 0)])
    height, width = kernel.shape[:2]
    rows = []
    for i in range(0, x.shape[1] - height + 1, stride):
        columns = range(0, x.shape[2] - width + 1, stride)
        rows.append([np.tensordot(x[:, i : i + height, j : j + width], kernel, 3) for j in columns])
    return np.moveaxis(np.array(rows), 2, 0)


def fir(x, pad, gain=1.0):
    each_channel = gain * FIR[:, :, None, None] * np.eye(x.shape[-1])
    return correlate(x, each_channel, pad)


def upsample(x):
    b, h, w, c = x.shape
    zeros_between = np.zeros((b, 2 * h, 2 * w, c))
    zeros_between[:, ::2, ::2] = x
    return fir(zeros_between, (2, 1), gain=4)


def conv(x, kernel):
    pad = kernel.shape[0] // 2
    return correlate(x, kernel, (pad, pad))


def conv_up(x, kernel):
    b, h, w, _ = x.shape
    scattered = np.zeros((b, 2 * h + 1, 2 * w + 1, kernel.shape[3]))
    for i, j in np.ndindex(h, w):
        for down, right in np.ndindex(3, 3):
            scattered[:, 2 * i + down, 2 * j + right] += wide(x[:, i, j]) @ kernel[down, right]
    return fir(scattered, (1, 1), gain=4)


def conv_down(x, kernel):
    pad = 2 if kernel.shape[0] == 3 else 1  # so that half the size is left
    return correlate(fir(x, (pad, pad)), kernel, (0, 0), stride=2)


def leaky(x, clamp=None, gain=1.0):
    y = np.where(x > 0, x, 0.2 * x) * math.sqrt(2) * gain
    return y if clamp is None else np.clip(y, -clamp * gain, clamp * gain)


def dense(params, x, multiplier=1.0):
    weight = wide(params["kernel"]) * multiplier / math.sqrt(x.shape[-1])
    return x @ weight + multiplier * wide(params["bias"])


def equalised(kernel):
    return wide(kernel) / math.sqrt(math.prod(kernel.shape[:3]))


def modulated(params, x, w, how, *, demodulate=True):
    images = []
    for image, style in zip(x, dense(params["affine"], wide(w)), strict=True):
        weight = equalised(params["kernel"]) * style[None, None, :, None]
        if demodulate:
            weight = weight / np.sqrt(np.sum(weight**2, axis=(0, 1, 2)) + 1e-8)
        images.append(how(image[None], weight)[0])
    return np.stack(images)


def mapping(params, z):
    x = z / np.sqrt(np.mean(wide(z) ** 2, axis=1, keepdims=True) + 1e-8)
    for i in range(len(params)):
        x = leaky(dense(params[f"fc{i}"], x, multiplier=0.01))
    return x


def styled(params, x, w, noise, how, clamp):
    noisy = modulated(params["conv"], x, w, how) + params["noise_strength"] * wide(noise)[..., None]
    return leaky(noisy + params["bias"], clamp)


def to_rgb(params, x, w, clamp):
    y = modulated(params["conv"], x, w, conv, demodulate=False) + params["bias"]
    return y if clamp is None else np.clip(y, -clamp, clamp)


def synthesis(params, ws, noise, clamp=None):
    """The network of 16×16 images."""
    x = np.tile(wide(params["const"]), (len(ws), 1, 1, 1))
    x = styled(params["b4_conv1"], x, ws[:, 0], noise[0], conv, clamp)
    image = to_rgb(params["b4_to_rgb"], x, ws[:, 1], clamp)
    x = styled(params["b8_conv0"], x, ws[:, 1], noise[1], conv_up, clamp)
    x = styled(params["b8_conv1"], x, ws[:, 2], noise[2], conv, clamp)
    image = upsample(image) + to_rgb(params["b8_to_rgb"], x, ws[:, 3], clamp)
    x = styled(params["b16_conv0"], x, ws[:, 3], noise[3], conv_up, clamp)
    x = styled(params["b16_conv1"], x, ws[:, 4], noise[4], conv, clamp)
    return upsample(image) + to_rgb(params["b16_to_rgb"], x, ws[:, 5], clamp)


def minibatch_deviation(x, group):
    """Members of a group lie b / group images apart."""
    group = min(group, len(x))
    groups = len(x) // group
    channel = np.zeros((*x.shape[:3], 1))
    for first in range(groups):
        members = wide(x[first::groups])
        channel[first::groups] = np.mean(np.sqrt(np.mean((members - members.mean(0)) ** 2, axis=0) + 1e-8))
    return np.concatenate([x, channel], axis=-1)


def residual(params, x, clamp):
    y = leaky(conv(x, equalised(params["conv0"]["kernel"])) + params["conv0"]["bias"], clamp)
    y = conv_down(y, equalised(params["conv1"]["kernel"])) + params["conv1"]["bias"]
    gain = math.sqrt(0.5)
    return gain * conv_down(x, equalised(params["skip"]["kernel"])) + leaky(y, clamp, gain)


def discriminator(params, images, group, clamp=None):
    """The network of 16×16 images."""
    x = leaky(conv(images, equalised(params["from_rgb"]["kernel"])) + params["from_rgb"]["bias"], clamp)
    x = residual(params["b16"], x, clamp)
    x = residual(params["b8"], x, clamp)
    x = minibatch_deviation(x, group)
    x = leaky(conv(x, equalised(params["b4_conv"]["kernel"])) + params["b4_conv"]["bias"], clamp)
    x = leaky(dense(params["b4_fc"], x.reshape(len(x), -1)))
    return dense(params["b4_out"], x)[:, 0]
