"""Latent diffusion in float64 NumPy under the names of two public implementations, CompVis' and diffusers'.

Written from the constructors and forward passes of the originals (ldm/modules/diffusionmodules/model.py and
openaimodel.py; diffusers' Encoder, Decoder and UNet2DModel), not from the tables of the package. A pass asks
for every tensor by its name and shape; those that are not there yet are drawn, so that the first pass makes a
checkpoint, and what it returns is what the checkpoint computes. Arrays are NHWC, weights as PyTorch has them.
"""

import math

import numpy as np
from latent_diffusion_oracle import double, nearest, norm, silu, sinusoids
from stylegan2_oracle import correlate, wide

FIRST_STAGE, DENOISER = 1e-6, 1e-5  # added to the variance
GROUPS = 32


class Tensors(dict):
    """Name -> float32 array; drawn of a size that keeps activations of order one where there is none yet."""

    def __init__(self, seed):
        super().__init__()
        self.random = np.random.default_rng(seed)

    def ask(self, name, *shape):
        if name not in self:
            scale = 1 / math.sqrt(math.prod(shape[1:]))
            self[name] = (scale * self.random.standard_normal(shape)).astype(np.float32)
        assert self[name].shape == shape, name
        return wide(self[name])


class Part:
    """The tensors below a prefix, and the operations of PyTorch on them."""

    def __init__(self, tensors, prefix=""):
        self.tensors, self.prefix = tensors, prefix

    def __getitem__(self, name):
        return Part(self.tensors, f"{self.prefix}{name}.")

    def ask(self, name, *shape):
        return self.tensors.ask(f"{self.prefix}{name}", *shape)

    def conv(self, x, out, size=3, *, pad=None, stride=1):
        kernel = self.ask("weight", out, x.shape[-1], size, size).transpose(2, 3, 1, 0)
        return correlate(x, kernel, pad or (size // 2, size // 2), stride) + self.ask("bias", out)

    def linear(self, x, out, *, axes=()):
        """A dense layer of the last axis; `axes` of one behind it, as convolutions of one place have them."""
        weight = self.ask("weight", out, x.shape[-1], *axes).reshape(out, -1)
        return x @ weight.T + self.ask("bias", out)

    def norm(self, x, epsilon):
        c = x.shape[-1]
        return norm({"scale": self.ask("weight", c), "bias": self.ask("bias", c)}, x, GROUPS, epsilon)

    def block(self, x, out, names, epsilon, time=None):
        """norm, SiLU, convolution, twice; the time is added in between; a skip where the width changes."""
        norm0, conv0, norm1, conv1, skip, timed = names
        y = self[conv0].conv(silu(self[norm0].norm(x, epsilon)), out)
        if time is not None:
            y = y + self[timed].linear(silu(time), out)[:, None, None]
        y = self[conv1].conv(silu(self[norm1].norm(y, epsilon)), out)
        return (self[skip].conv(x, out, 1) if x.shape[-1] != out else x) + y


def attended(x, q, k, v, head):
    """Softmax attention over places for every head; q, k, v [b, places, c]."""
    b, places, c = q.shape
    q, k, v = (one.reshape(b, places, c // head, head) for one in (q, k, v))
    odds = np.exp(np.einsum("bphc,bqhc->bhpq", q, k) / math.sqrt(head))
    seen = np.einsum("bhpq,bqhc->bphc", odds / odds.sum(-1, keepdims=True), v)
    return seen.reshape(x.shape)


def flat(x):
    return x.reshape(len(x), -1, x.shape[-1])


class CompVis:
    """Names of the original code: encoder.down.0.block.1.conv1, input_blocks.3.0.op, …"""

    stage = ("norm1", "conv1", "norm2", "conv2", "nin_shortcut", None)
    unet = ("in_layers.0", "in_layers.2", "out_layers.0", "out_layers.3", "skip_connection", "emb_layers.1")
    norm_out = "norm_out"
    middle = ("mid.block_1", "mid.attn_1", "mid.block_2")

    def down(self, level, i):
        return f"down.{level}.block.{i}"

    def halve(self, level):
        return f"down.{level}.downsample.conv"

    def up(self, level, _levels, i):
        return f"up.{level}.block.{i}"

    def double(self, level, _levels):
        return f"up.{level}.upsample.conv"

    def attention(self, part, x, epsilon):
        """`AttnBlock`: convolutions of one pixel, one head."""
        c, y = x.shape[-1], flat(part["norm"].norm(x, epsilon))
        q, k, v = (part[name].linear(y, c, axes=(1, 1)) for name in "qkv")
        return x + part["proj_out"].linear(attended(x, q, k, v, c), c, axes=(1, 1))


class Diffusers:
    """Names of diffusers: encoder.down_blocks.0.resnets.1.conv1; up_blocks.0 is the lowest resolution."""

    stage = unet = ("norm1", "conv1", "norm2", "conv2", "conv_shortcut", "time_emb_proj")
    norm_out = "conv_norm_out"
    middle = ("mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1")
    dense = ("to_q", "to_k", "to_v", "to_out.0")

    def down(self, level, i):
        return f"down_blocks.{level}.resnets.{i}"

    def halve(self, level):
        return f"down_blocks.{level}.downsamplers.0.conv"

    def up(self, level, levels, i):
        return f"up_blocks.{levels - 1 - level}.resnets.{i}"

    def double(self, level, levels):
        return f"up_blocks.{levels - 1 - level}.upsamplers.0.conv"

    def attention(self, part, x, epsilon, head=None):
        """`Attention`: dense layers, heads of `head` channels, one where nothing is said."""
        c, y = x.shape[-1], flat(part["group_norm"].norm(x, epsilon))
        q, k, v = (part[name].linear(y, c) for name in self.dense[:3])
        return x + part[self.dense[3]].linear(attended(x, q, k, v, head or c), c)


class EarlyDiffusers(Diffusers):
    """As in its first releases."""

    dense = ("query", "key", "value", "proj_attn")


def _middle(part, x, layout):
    first, attention, second = layout.middle
    x = part[first].block(x, x.shape[-1], layout.stage, FIRST_STAGE)
    x = layout.attention(part[attention], x, FIRST_STAGE)
    return part[second].block(x, x.shape[-1], layout.stage, FIRST_STAGE)


def _end(part, x, out, layout, epsilon=FIRST_STAGE):
    return part["conv_out"].conv(silu(part[layout.norm_out].norm(x, epsilon)), out)


def moments(tensors, images, layout, *, channels, blocks, latent, codes):
    """The encoder and `quant_conv`: one latent, or a mean and a log-variance."""
    part = tensors["encoder"]
    x = part["conv_in"].conv(wide(images), channels[0])
    for level, width in enumerate(channels):
        for i in range(blocks):
            x = part[layout.down(level, i)].block(x, width, layout.stage, FIRST_STAGE)
        if level < len(channels) - 1:  # padded at the right and the bottom
            x = part[layout.halve(level)].conv(x, width, pad=(0, 1), stride=2)
    out = latent if codes else 2 * latent
    return tensors["quant_conv"].conv(_end(part, _middle(part, x, layout), out, layout), out, 1)


def decode(tensors, z, layout, *, channels, blocks, latent, codes):
    """The nearest codes where there are any, `post_quant_conv` and the decoder."""
    z = wide(z)
    if codes:
        book = tensors["quantize.embedding"].ask("weight", codes, latent)
        z = book[nearest(z, book)]
    part, levels = tensors["decoder"], len(channels)
    x = part["conv_in"].conv(tensors["post_quant_conv"].conv(z, latent, 1), channels[-1])
    x = _middle(part, x, layout)
    for level in reversed(range(levels)):
        for i in range(blocks + 1):
            x = part[layout.up(level, levels, i)].block(x, channels[level], layout.stage, FIRST_STAGE)
        if level:
            x = doubled(part[layout.double(level, levels)], x)
    return _end(part, x, 3, layout)


def doubled(part, x):
    """Nearest neighbours, then a convolution."""
    c = x.shape[-1]
    kernel = part.ask("weight", c, c, 3, 3).transpose(2, 3, 1, 0)
    return double({"conv": {"kernel": kernel, "bias": part.ask("bias", c)}}, x)


def compvis_unet(part, z, times, *, channels, blocks, attention, head):
    """`UNetModel`: its blocks in one row each for the way down, the middle and the way up."""
    time = _time(part["time_embed.0"], part["time_embed.2"], times, channels[0])

    def step(place, x, width, level):
        x = part[f"{place}.0"].block(x, width, CompVis.unet, DENOISER, time)
        return packed_attention(part[f"{place}.1"], x, head) if level in attention else x

    kept = [part["input_blocks.0.0"].conv(wide(z), channels[0])]
    for level, width in enumerate(channels):
        for _ in range(blocks):
            kept.append(step(f"input_blocks.{len(kept)}", kept[-1], width, level))
        if level < len(channels) - 1:
            halved = part[f"input_blocks.{len(kept)}.0.op"].conv(kept[-1], width, pad=(1, 1), stride=2)
            kept.append(halved)
    x = step("middle_block", kept[-1], channels[-1], next(iter(attention)))
    x = part["middle_block.2"].block(x, channels[-1], CompVis.unet, DENOISER, time)
    for row in range(len(channels) * (blocks + 1)):
        level, place = len(channels) - 1 - row // (blocks + 1), f"output_blocks.{row}"
        x = step(place, np.concatenate([x, kept.pop()], axis=-1), channels[level], level)
        if level and row % (blocks + 1) == blocks:
            x = doubled(part[f"{place}.{2 if level in attention else 1}.conv"], x)
    return part["out.2"].conv(silu(part["out.0"].norm(x, DENOISER)), z.shape[-1])


def packed_attention(part, x, head):
    """`AttentionBlock` in the legacy order: q, k and v of a head side by side."""
    c, y = x.shape[-1], flat(part["norm"].norm(x, DENOISER))
    packed = part["qkv"].linear(y, 3 * c, axes=(1,)).reshape(*y.shape[:2], c // head, 3, head)
    q, k, v = (packed[:, :, :, i].reshape(y.shape) for i in range(3))
    return x + part["proj_out"].linear(attended(x, q, k, v, head), c, axes=(1,))


def diffusers_unet(part, z, times, *, channels, blocks, attention, head):
    """`UNet2DModel`."""
    layout, levels = Diffusers(), len(channels)
    time = _time(part["time_embedding.linear_1"], part["time_embedding.linear_2"], times, channels[0])

    def step(place, x, width, level):
        x = part[place].block(x, width, Diffusers.unet, DENOISER, time)
        beside = part[place.replace("resnets", "attentions")]
        return layout.attention(beside, x, DENOISER, head) if level in attention else x

    kept = [part["conv_in"].conv(wide(z), channels[0])]
    for level, width in enumerate(channels):
        for i in range(blocks):
            kept.append(step(layout.down(level, i), kept[-1], width, level))
        if level < levels - 1:
            kept.append(part[layout.halve(level)].conv(kept[-1], width, pad=(1, 1), stride=2))
    first, _, second = layout.middle
    x = step(first, kept[-1], channels[-1], next(iter(attention)))
    x = part[second].block(x, channels[-1], Diffusers.unet, DENOISER, time)
    for row in range(levels * (blocks + 1)):
        level, i = levels - 1 - row // (blocks + 1), row % (blocks + 1)
        x = step(layout.up(level, levels, i), np.concatenate([x, kept.pop()], -1), channels[level], level)
        if level and i == blocks:
            x = doubled(part[layout.double(level, levels)], x)
    return _end(part, x, z.shape[-1], layout, DENOISER)


def _time(first, second, times, width):
    return second.linear(silu(first.linear(sinusoids(times, width), 4 * width)), 4 * width)
