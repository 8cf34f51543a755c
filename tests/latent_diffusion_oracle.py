"""Latent diffusion in float64 NumPy, from the papers' definitions.

Norms go group by group, attention pixel by pixel, and a UNet is a level that holds the lower levels. Slow,
and independent of latentfp but for the names in the parameter tree. `fields` are those of the networks.
"""

import math

import jax
import numpy as np
from stylegan2_oracle import correlate, random_params, wide

FIRST_STAGE_EPSILON, DENOISER_EPSILON = 1e-6, 1e-5  # of norms, in the public implementations


def fan_scaled(module, *inputs, seed=0):
    """Random numbers in every slot; kernels divided by √(inputs), so that maps stay of order one."""
    return scaled(random_params(module, *inputs, seed=seed))


def scaled(tree):
    """Kernels by 1/√(inputs)."""
    if isinstance(tree, dict):
        return {name: scaled(branch) for name, branch in tree.items()}
    return tree / np.float32(math.sqrt(math.prod(tree.shape[:-1])))


def silu(x):
    return x / (1 + np.exp(-x))


def dense(params, x):
    return wide(x) @ wide(params["kernel"]) + wide(params["bias"])


def conv(params, x, pad=None, stride=1):
    """Zero padding that keeps the size, unless `pad` (before, after) is given."""
    kernel = wide(params["kernel"])
    half = kernel.shape[0] // 2
    return correlate(x, kernel, pad or (half, half), stride) + wide(params["bias"])


def norm(params, x, groups, epsilon):
    """Wu and He 2018 (arXiv 1803.08494), equations 1, 2, 6 and 7."""
    white, each = wide(x).copy(), x.shape[-1] // groups
    for image, group in np.ndindex(len(x), groups):
        members = white[image, :, :, group * each : (group + 1) * each]
        members[:] = (members - members.mean()) / math.sqrt(members.var() + epsilon)
    return white * wide(params["scale"]) + wide(params["bias"])


def residual(params, x, groups, epsilon, time=None):
    """Ho et al. 2020 (arXiv 2006.11239), appendix B: the time goes in between the two convolutions."""
    y = conv(params["conv0"], silu(norm(params["norm0"], x, groups, epsilon)))
    for image, own in enumerate([] if time is None else time):
        y[image] += dense(params["time"], silu(wide(own)))
    y = conv(params["conv1"], silu(norm(params["norm1"], y, groups, epsilon)))
    return y + (conv(params["skip"], x) if x.shape[-1] != y.shape[-1] else wide(x))


def attention(params, x, heads, groups, epsilon):
    """Vaswani et al. 2017 (arXiv 1706.03762), section 3.2, on normalised pixels; added to the input."""
    y = norm(params["norm"], x, groups, epsilon)
    q, k, v = (dense(params[name], y) for name in "qkv")
    seen, each = np.zeros_like(y), x.shape[-1] // heads
    for image, row, column, head in np.ndindex(*x.shape[:3], heads):
        own = slice(head * each, (head + 1) * each)
        keys, values = (m[image, :, :, own].reshape(-1, each) for m in (k, v))
        odds = np.exp(keys @ q[image, row, column, own] / math.sqrt(each))
        seen[image, row, column, own] = odds @ values / odds.sum()
    return wide(x) + dense(params["out"], seen)


def halve(params, x, pad):
    return conv(params["conv"], x, pad, stride=2)


def double(params, x):
    b, h, w, c = x.shape
    large = np.empty((b, 2 * h, 2 * w, c))
    for i, j in np.ndindex(2, 2):
        large[:, i::2, j::2] = x
    return conv(params["conv"], large)


def middle(params, x, groups):
    x = residual(params["block0"], x, groups, FIRST_STAGE_EPSILON)
    x = attention(params["attention"], x, 1, groups, FIRST_STAGE_EPSILON)
    return residual(params["block1"], x, groups, FIRST_STAGE_EPSILON)


def stack(params, x, level, blocks, groups):
    for i in range(blocks):
        x = residual(params[f"level{level}_block{i}"], x, groups, FIRST_STAGE_EPSILON)
    return x


def coder_end(params, x, groups):
    return conv(params["conv_out"], silu(norm(params["norm_out"], x, groups, FIRST_STAGE_EPSILON)))


def encoder(params, images, fields):
    """Esser et al. 2021 (arXiv 2012.09841), table 7; padded at the right and the bottom where it halves."""
    levels, groups = len(fields["channels"]), fields["groups"]
    x = stack(params, conv(params["conv_in"], images), 0, fields["blocks"], groups)
    for level in range(1, levels):
        x = halve(params[f"level{level - 1}_halve"], x, (0, 1))
        x = stack(params, x, level, fields["blocks"], groups)
    return coder_end(params, middle(params["middle"], x, groups), groups)


def decoder(params, z, fields):
    """Esser et al. 2021 (arXiv 2012.09841), table 7."""
    groups = fields["groups"]
    x = middle(params["middle"], conv(params["conv_in"], z), groups)
    for level in range(len(fields["channels"]) - 1, 0, -1):
        x = stack(params, x, level, fields["blocks"] + 1, groups)
        x = double(params[f"level{level}_double"], x)
    return coder_end(params, stack(params, x, 0, fields["blocks"] + 1, groups), groups)


def moments(params, images, fields):
    return conv(params["before"], encoder(params["encoder"], images, fields))


def nearest(z, codebook):
    """Esser et al. 2021 (arXiv 2012.09841), equation 2: the number of the nearest code of every pixel."""
    found = np.empty(z.shape[:-1], int)
    for place in np.ndindex(*found.shape):
        found[place] = np.argmin([math.dist(z[place], code) for code in codebook])
    return found


def decode(params, z, fields):
    if fields.get("codes", 0):
        z = wide(params["codebook"])[nearest(wide(z), wide(params["codebook"]))]
    return decoder(params["decoder"], conv(params["after"], z), fields)


def reconstruct(params, images, fields):
    return decode(params, moments(params, images, fields)[..., : fields["latent"]], fields)


def sinusoids(times, size):
    """Vaswani et al. 2017 (arXiv 1706.03762), section 3.5: wavelengths from 2π to almost 10 000 · 2π."""
    half = size // 2
    found = np.empty((len(times), 2 * half))
    for row, k in np.ndindex(len(times), half):
        angle = times[row] / 10_000 ** (k / half)
        found[row, k], found[row, half + k] = math.cos(angle), math.sin(angle)
    return found


def time_embedding(params, times, size):
    return dense(params["fc1"], silu(dense(params["fc0"], sinusoids(wide(times), size))))


def unet(params, z, times, fields):
    """Ho et al. 2020 (arXiv 2006.11239), appendix B; Rombach et al. 2022 (arXiv 2112.10752), appendix E."""
    time = time_embedding(params["time"], times, fields["channels"][0])
    x = unet_level(params, conv(params["conv_in"], z), time, 0, fields)
    return conv(params["conv_out"], silu(norm(params["norm_out"], x, fields["groups"], DENOISER_EPSILON)))


def unet_level(params, entry, time, level, fields):
    """A level with all below it: down, the lower levels or the middle, up beside what came down."""

    def attend(x, name):
        heads = x.shape[-1] // fields["head"]
        return attention(params[name], x, heads, fields["groups"], DENOISER_EPSILON)

    def block(x, name):
        return residual(params[name], x, fields["groups"], DENOISER_EPSILON, time)

    def maybe_attend(x, name):
        return attend(x, name) if level in fields["attention"] else x

    came = [entry]
    for i in range(fields["blocks"]):
        came.append(maybe_attend(block(came[-1], f"down{level}_block{i}"), f"down{level}_attention{i}"))
    if level + 1 < len(fields["channels"]):
        x = unet_level(params, halve(params[f"down{level}_halve"], came[-1], (1, 1)), time, level + 1, fields)
        x = double(params[f"up{level + 1}_double"], x)
    else:
        x = block(attend(block(came[-1], "middle_block0"), "middle_attention"), "middle_block1")
    for i, beside in enumerate(reversed(came)):
        x = block(np.concatenate([x, beside], axis=-1), f"up{level}_block{i}")
        x = maybe_attend(x, f"up{level}_attention{i}")
    return x


def patches(params, images, layers, groups):
    """Isola et al. 2017 (arXiv 1611.07004), appendix 6.1.2, for even sizes."""
    x = images
    for i in range(layers):
        x = conv(params[f"conv{i}"], x, (1, 1), stride=2)
        x = x if i == 0 else norm(params[f"norm{i}"], x, groups, 1e-5)
        x = np.where(x > 0, x, 0.2 * x)
    x = conv(params["conv_last"], x)
    return conv(params["logits"], np.where(x > 0, x, 0.2 * x))[..., 0]


def fresh(shapes, seed=0):
    """Weights as at the start, without a compiler: norms do nothing, codes lie near zero."""
    draw = np.random.default_rng(seed)

    def start(name, leaf):
        if name == "kernel":
            return draw.normal(size=leaf.shape) / math.sqrt(math.prod(leaf.shape[:-1]))
        if name == "codebook":
            return draw.uniform(-1, 1, leaf.shape) / leaf.shape[0]
        return np.full(leaf.shape, float(name == "scale"))

    def fill(tree):
        return {
            name: fill(branch) if isinstance(branch, dict) else np.asarray(start(name, branch), np.float32)
            for name, branch in tree.items()
        }

    return fill(shapes)


def along(function, tree, gradient, seed=5, step=1e-6):
    """The derivative of a float64 `function` of weights in a direction: by a difference, by the gradient."""
    draw = np.random.default_rng(seed)
    direction = jax.tree.map(lambda leaf: draw.normal(size=leaf.shape), tree)

    def value(distance):
        return function(jax.tree.map(lambda w, v: wide(w) + distance * v, tree, direction))

    products = jax.tree.map(lambda g, v: np.sum(wide(g) * v), gradient, direction)
    return (value(step) - value(-step)) / (2 * step), sum(jax.tree.leaves(products))
