"""A public generator that nobody here made, behind latentfp's interface: faces of 64 x 64 pixels by a DCGAN.

    pip install --no-deps gan-face-generate==1.1.1        (MIT, Chien Liu; only its weights.tar is read)
    latentfp fit --generator docs.examples.dcgan:make --bits 32 --shift 68 --sigma 2.8 --out faces

docs/extend.md tells the whole way.
"""

from importlib.resources import files

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from latentfp.checkpoints.torch_files import read_tensors
from latentfp.generators.generator import Generator

LATENT, WIDTHS = 100, (512, 256, 128, 64, 3)


class DCGAN(nn.Module):
    """z [b, 100] to images [b, 64, 64, 3] by five transposed convolutions (Radford et al. 2016)."""

    @nn.compact
    def __call__(self, z):
        x = z[:, None, None, :]
        for i, width in enumerate(WIDTHS):
            grow = {"strides": (2, 2), "padding": "SAME"} if i else {"strides": (1, 1), "padding": "VALID"}
            options = {"use_bias": False, "transpose_kernel": True, "name": f"conv{i}"}
            x = nn.ConvTranspose(width, (4, 4), **grow, **options)(x)
            if width != 3:
                x = nn.relu(nn.BatchNorm(use_running_average=True, epsilon=1e-5, name=f"norm{i}")(x))
        return nn.tanh(x)


def turn(kernel):
    """Axes of z [100, 100] from what the first layer shows most to what it shows least, and how much [100].

    Rounded and with signs fixed, so that every machine finds the same numbers.
    """
    axes, shown, _ = np.linalg.svd(kernel.reshape(len(kernel), -1).astype(np.float64), full_matrices=False)
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(LATENT)])[None]
    return np.round(axes, 4).astype(np.float32), np.round(shown, 4).astype(np.float32)


def make():
    """The generator and its parameters. Its latent is z along the axes of `turn`, times what they show."""
    weights = read_tensors(str(files("gan_face_generate") / "weights.tar"))["netG_state_dict"]
    params, stats = {}, {}
    for i in range(len(WIDTHS)):
        params[f"conv{i}"] = {"kernel": weights[f"main.{3 * i}.weight"].transpose(2, 3, 1, 0)}
    for i in range(len(WIDTHS) - 1):
        norm = f"main.{3 * i + 1}"
        params[f"norm{i}"] = {"scale": weights[f"{norm}.weight"], "bias": weights[f"{norm}.bias"]}
        stats[f"norm{i}"] = {"mean": weights[f"{norm}.running_mean"], "var": weights[f"{norm}.running_var"]}
    axes, shown = turn(weights["main.0.weight"])
    variables = {"network": {"params": params, "batch_stats": stats}, "axes": axes, "shown": shown}

    def sample(variables, key, n):
        return variables["shown"][None] * jax.random.normal(key, (n, LATENT))

    def synthesize(variables, w):
        return DCGAN().apply(variables["network"], (w / variables["shown"][None]) @ variables["axes"].T)

    generator = Generator("dcgan-faces", LATENT, (64, 64, 3), sample, synthesize)
    return generator, jax.tree.map(jnp.asarray, variables)
