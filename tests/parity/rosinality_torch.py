"""StyleGAN2 in PyTorch, straight from a state in rosinality's layout: the software that a user may have.

Written from the definition of the layout: weights of unit variance that are scaled by 1/√fan_in (and in the
mapping by 0.01), modulation of the weights of every image, transposed convolution and blur to double.
"""

import torch
from torch.nn import functional

RATE = 0.01
State = dict[str, torch.Tensor]


def leaky(x):
    return functional.leaky_relu(x, 0.2) * 2**0.5


def mapping(state: State, z):
    x = z * torch.rsqrt(torch.mean(z**2, dim=1, keepdim=True) + 1e-8)
    for i in range(1, sum(name.startswith("style.") for name in state) // 2 + 1):
        weight, bias = state[f"style.{i}.weight"], state[f"style.{i}.bias"]
        x = leaky(functional.linear(x, weight * RATE / weight.shape[1] ** 0.5, bias * RATE))
    return x


def modulated(state: State, name: str, x, w, *, demodulate=True, double=False):
    """The convolution `name` with weights scaled for each image by its style."""
    dense = state[f"{name}.modulation.weight"]
    style = functional.linear(w, dense / dense.shape[1] ** 0.5, state[f"{name}.modulation.bias"])
    weight = state[f"{name}.weight"]
    out, fan_in, side = weight.shape[1], weight.shape[2], weight.shape[3]
    weight = weight / (fan_in * side**2) ** 0.5 * style[:, None, :, None, None]
    if demodulate:
        weight = weight * torch.rsqrt((weight**2).sum((2, 3, 4), keepdim=True) + 1e-8)
    n, _, h, width = x.shape
    x = x.reshape(1, n * fan_in, h, width)
    if not double:
        made = functional.conv2d(x, weight.reshape(n * out, fan_in, side, side), padding=side // 2, groups=n)
        return made.reshape(n, out, h, width)
    turned = weight.transpose(1, 2).reshape(n * fan_in, out, side, side)
    made = functional.conv_transpose2d(x, turned, stride=2, groups=n)
    return filtered(made.reshape(n, out, *made.shape[2:]), state[f"{name}.blur.kernel"], (1, 1))


def filtered(x, kernel, pad: tuple[int, int]):
    """Each channel convolved with a kernel, after padding by `pad` before and after."""
    n, c, h, w = x.shape
    x = functional.pad(x.reshape(n * c, 1, h, w), (*pad, *pad))
    x = functional.conv2d(x, torch.flip(kernel, (0, 1))[None, None])
    return x.reshape(n, c, *x.shape[2:])


def doubled(x, kernel):
    n, c, h, w = x.shape
    spread = torch.zeros(n, c, h, 2, w, 2)
    spread[:, :, :, 0, :, 0] = x
    return filtered(spread.reshape(n, c, 2 * h, 2 * w), kernel, (2, 1))


def styled(state: State, name: str, x, w, noise, *, double=False):
    x = modulated(state, f"{name}.conv", x, w, double=double)
    x = x + state[f"{name}.noise.weight"] * noise
    return leaky(x + state[f"{name}.activate.bias"][None, :, None, None])


def to_rgb(state: State, name: str, x, w):
    return modulated(state, f"{name}.conv", x, w, demodulate=False) + state[f"{name}.bias"]


def synthesis(state: State, w, noise):
    """Images [n, 3, h, w] of latents [n, d]; `noise`: maps [n or 1, 1, h, w] of every layer."""
    x = styled(state, "conv1", state["input.input"].repeat(len(w), 1, 1, 1), w, noise[0])
    image = to_rgb(state, "to_rgb1", x, w)
    for i in range(
        sum(name.startswith("to_rgbs.") and name.endswith(".bias") and "conv" not in name for name in state)
    ):
        x = styled(state, f"convs.{2 * i}", x, w, noise[2 * i + 1], double=True)
        x = styled(state, f"convs.{2 * i + 1}", x, w, noise[2 * i + 2])
        image = doubled(image, state[f"to_rgbs.{i}.upsample.kernel"]) + to_rgb(state, f"to_rgbs.{i}", x, w)
    return image


def own_noise(state: State):
    return [state[f"noises.noise_{i}"] for i in range(sum(name.startswith("noises.") for name in state))]
