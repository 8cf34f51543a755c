"""A public generator that nobody here made, behind latentfp's interface: faces of 64 x 64 pixels by a DCGAN.

    pip install --no-deps gan-face-generate==1.1.1        (MIT, Chien Liu; only its weights.tar is read)
    latentfp fit --generator docs.examples.dcgan:make --bits 32 --shift 0 --sigma 2 --out faces

docs/extend.md tells the whole way.
"""

from importlib.resources import files
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

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


def make():
    """The generator and its parameters."""
    weights = read_tensors(str(files("gan_face_generate") / "weights.tar"))["netG_state_dict"]
    params, stats = {}, {}
    for i in range(len(WIDTHS)):
        params[f"conv{i}"] = {"kernel": weights[f"main.{3 * i}.weight"].transpose(2, 3, 1, 0)}
    for i in range(len(WIDTHS) - 1):
        norm = f"main.{3 * i + 1}"
        params[f"norm{i}"] = {"scale": weights[f"{norm}.weight"], "bias": weights[f"{norm}.bias"]}
        stats[f"norm{i}"] = {"mean": weights[f"{norm}.running_mean"], "var": weights[f"{norm}.running_var"]}
    variables = jax.tree.map(jnp.asarray, {"params": params, "batch_stats": stats})
    generator = Generator(
        name="dcgan-faces",
        latent_dim=LATENT,
        image_shape=(64, 64, 3),
        sample=lambda _, key, n: jax.random.normal(key, (n, LATENT)),
        synthesize=cast(Any, DCGAN().apply),
    )
    return generator, variables
