"""StyleGAN2 in float64 NumPy, channels first, straight from the tensors of a rosinality checkpoint.

Weights are modulated and demodulated per image, filters are full 4×4 correlations: the definitions, slowly.
"""

import itertools
import math

import numpy as np

FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def random_checkpoint(rng, *, channels, latent_dim, mapping_layers):
    """A training checkpoint {"g_ema", "latent_avg", "d"} without a zero tensor; `channels` from 4×4 up."""

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    def modulated(out, features, size):
        return {
            "weight": draw(1, out, features, size, size),
            "modulation": {"weight": draw(features, latent_dim), "bias": 1 + draw(features)},
        }

    def styled(out, features, doubling):
        conv = modulated(out, features, 3) | ({"blur": {"kernel": 4 * FILTER}} if doubling else {})
        return {"conv": conv, "noise": {"weight": draw(1)}, "activate": {"bias": draw(out)}}

    def to_rgb(features, doubling):
        head = {"conv": modulated(3, features, 1), "bias": draw(1, 3, 1, 1)}
        return head | ({"upsample": {"kernel": 4 * FILTER}} if doubling else {})

    def block(features, out):
        return {
            "conv1": [{"weight": draw(features, features, 3, 3)}, {"bias": draw(features)}],
            "conv2": [{"kernel": FILTER}, {"weight": draw(out, features, 3, 3)}, {"bias": draw(out)}],
            "skip": [{"kernel": FILTER}, {"weight": draw(out, features, 1, 1)}],
        }

    steps = list(itertools.pairwise(channels))
    sides = [4] + [4 * 2 ** (i + 1) for i in range(len(steps)) for _ in range(2)]
    square = (latent_dim, latent_dim)
    dense = [{"weight": 100 * draw(*square), "bias": 10 * draw(latent_dim)} for _ in range(mapping_layers)]
    first = channels[0]
    return {
        "g_ema": {
            "style": [{}, *dense],
            "input": {"input": draw(1, first, 4, 4)},
            "conv1": styled(first, first, False),
            "to_rgb1": to_rgb(first, False),
            "convs": [layer for a, b in steps for layer in (styled(b, a, True), styled(b, b, False))],
            "to_rgbs": [to_rgb(b, True) for _, b in steps],
            "noises": {f"noise_{i}": draw(1, 1, n, n) for i, n in enumerate(sides)},
        },
        "latent_avg": draw(latent_dim),
        "d": {
            "convs": [
                [{"weight": draw(channels[-1], 3, 1, 1)}, {"bias": draw(channels[-1])}],
                *(block(b, a) for a, b in steps[::-1]),
            ],
            "final_conv": [{"weight": draw(first, first + 1, 3, 3)}, {"bias": draw(first)}],
            "final_linear": [
                {"weight": draw(first, first * 16), "bias": draw(first)},
                {"weight": draw(1, first), "bias": draw(1)},
            ],
        },
    }


def correlate(x, weight, stride=1, pad=0):
    """[n, c, h, w] with [n or 1, o, c, k, k]."""
    size = weight.shape[-1]
    x = np.pad(np.asarray(x, np.float64), [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    reach = stride * ((x.shape[2] - size) // stride) + 1
    shape = (len(x), *weight.shape[1:3])
    taps = [
        np.einsum("nchw,noc->nohw", x[:, :, i : i + reach : stride, j : j + reach : stride], tap)
        for i, j in np.ndindex(size, size)
        for tap in [np.broadcast_to(weight[..., i, j], shape)]
    ]
    return np.sum(taps, axis=0)


def filtered(x, kernel, before, after):
    """Every channel correlated with one kernel, after padding."""
    x = np.pad(x, [(0, 0), (0, 0), (before, after), (before, after)])
    y = correlate(x.reshape(-1, 1, *x.shape[2:]), kernel[None, None, None])
    return y.reshape(*x.shape[:2], *y.shape[2:])


def leaky(x, bias):
    x = x + bias.reshape(1, -1, *[1] * (x.ndim - 2))
    return np.where(x > 0, x, 0.2 * x) * math.sqrt(2)


def dense(x, layer, multiplier=1.0):
    """The product with the weights, and the bias."""
    scale = multiplier / math.sqrt(x.shape[1])
    return x @ layer["weight"].T.astype(np.float64) * scale, layer["bias"] * multiplier


def mapping(tree, z):
    """z [b, d] to w [b, d]."""
    return layers(tree, normalised(z))


def normalised(z):
    return z / np.sqrt(np.mean(np.float64(z) ** 2, axis=1, keepdims=True) + 1e-8)


def layers(tree, x):
    """The dense layers of the mapping network."""
    for layer in tree["g_ema"]["style"][1:]:
        x = leaky(*dense(x, layer, 0.01))
    return x


def modulated(x, conv, w, *, demodulate=True):
    """The modulated convolution, doubling the size where the layer has a blur filter."""
    product, bias = dense(w, conv["modulation"])
    weight = conv["weight"] / math.sqrt(math.prod(conv["weight"].shape[2:]))
    weight = weight * (product + bias)[:, None, :, None, None]
    if demodulate:
        weight = weight / np.sqrt((weight**2).sum((2, 3, 4), keepdims=True) + 1e-8)
    if "blur" not in conv:
        return correlate(x, weight, pad=weight.shape[-1] // 2)
    n, _, h, _ = x.shape
    spread = np.zeros((n, weight.shape[1], 2 * h + 1, 2 * h + 1))
    for i, j in np.ndindex(3, 3):
        tap = np.einsum("nchw,noc->nohw", x, weight[..., i, j])
        spread[:, :, i : i + 2 * h : 2, j : j + 2 * h : 2] += tap
    return filtered(spread, conv["blur"]["kernel"], 1, 1)


def synthesis(tree, w, noises):
    """Images [b, 3, h, w] from one w an image and one noise map a layer."""
    g = tree["g_ema"]
    x = np.repeat(np.float64(g["input"]["input"]), len(w), axis=0)
    layers = [g["conv1"], *g["convs"]]
    image = None
    for i, (layer, noise) in enumerate(zip(layers, noises, strict=True)):
        x = leaky(
            modulated(x, layer["conv"], w) + layer["noise"]["weight"] * noise, layer["activate"]["bias"]
        )
        if i % 2 == 0:
            head = g["to_rgbs"][i // 2 - 1] if i else g["to_rgb1"]
            rgb = modulated(x, head["conv"], w, demodulate=False) + head["bias"]
            image = rgb if image is None else rgb + doubled(image, head["upsample"]["kernel"])
    return image


def doubled(image, kernel):
    n, c, h, w = image.shape
    spread = np.zeros((n, c, 2 * h, 2 * w))
    spread[:, :, ::2, ::2] = image
    return filtered(spread, kernel, 2, 1)


def discriminator(tree, images):
    """Logits [b]; the whole batch is one group of the minibatch deviation."""

    def conv(x, weight, **options):
        return correlate(x, weight[None] / math.sqrt(math.prod(weight.shape[1:])), **options)

    d = tree["d"]
    x = leaky(conv(images, d["convs"][0][0]["weight"]), d["convs"][0][1]["bias"])
    for block in d["convs"][1:]:
        y = leaky(conv(x, block["conv1"][0]["weight"], pad=1), block["conv1"][1]["bias"])
        y = conv(filtered(y, block["conv2"][0]["kernel"], 2, 2), block["conv2"][1]["weight"], stride=2)
        skip = conv(filtered(x, block["skip"][0]["kernel"], 1, 1), block["skip"][1]["weight"], stride=2)
        x = (leaky(y, block["conv2"][2]["bias"]) + skip) / math.sqrt(2)
    deviation = np.full((len(x), 1, 4, 4), np.sqrt(x.var(0) + 1e-8).mean())
    x = np.concatenate([x, deviation], axis=1)
    x = leaky(conv(x, d["final_conv"][0]["weight"], pad=1), d["final_conv"][1]["bias"])
    x = leaky(*dense(x.reshape(len(x), -1), d["final_linear"][0]))
    return np.add(*dense(x, d["final_linear"][1]))[:, 0]


def nvidia_generator(tree):
    """The same tensors under NVIDIA's names; they have no leading axis of one."""
    g = tree["g_ema"]
    tensors = {"synthesis.b4.const": g["input"]["input"][0], "mapping.w_avg": tree["latent_avg"]}
    for i, layer in enumerate(g["style"][1:]):
        tensors |= {f"mapping.fc{i}.{name}": array for name, array in layer.items()}

    def modulated(name, conv):
        affine = {f"{name}.affine.{part}": array for part, array in conv["modulation"].items()}
        return {f"{name}.weight": conv["weight"][0], **affine, f"{name}.resample_filter": FILTER}

    for i, layer in enumerate([g["conv1"], *g["convs"]]):
        name = f"synthesis.b{4 * 2 ** ((i + 1) // 2)}.conv{(i + 1) % 2}"
        tensors |= modulated(name, layer["conv"]) | {
            f"{name}.noise_strength": layer["noise"]["weight"].reshape(()),
            f"{name}.noise_const": g["noises"][f"noise_{i}"][0, 0],
            f"{name}.bias": layer["activate"]["bias"],
        }
    for i, head in enumerate([g["to_rgb1"], *g["to_rgbs"]]):
        name = f"synthesis.b{4 * 2**i}.torgb"
        tensors |= modulated(name, head["conv"]) | {f"{name}.bias": head["bias"].reshape(3)}
        tensors.pop(f"{name}.resample_filter")
    return tensors


def nvidia_discriminator(tree):
    d = tree["d"]
    first, *blocks = d["convs"]
    size = 4 * 2 ** len(blocks)
    tensors = {f"b{size}.fromrgb.weight": first[0]["weight"], f"b{size}.fromrgb.bias": first[1]["bias"]}
    for i, block in enumerate(blocks):
        name = f"b{size // 2**i}"
        tensors |= {
            f"{name}.conv0.weight": block["conv1"][0]["weight"],
            f"{name}.conv0.bias": block["conv1"][1]["bias"],
            f"{name}.conv1.weight": block["conv2"][1]["weight"],
            f"{name}.conv1.bias": block["conv2"][2]["bias"],
            f"{name}.skip.weight": block["skip"][1]["weight"],
            f"{name}.resample_filter": FILTER,
        }
    (conv, activate), (dense, out) = d["final_conv"], d["final_linear"]
    tensors |= {"b4.conv.weight": conv["weight"], "b4.conv.bias": activate["bias"]}
    return tensors | {
        f"b4.{name}.{part}": array
        for name, layer in (("fc", dense), ("out", out))
        for part, array in layer.items()
    }
