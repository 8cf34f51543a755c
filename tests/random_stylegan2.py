"""A small StyleGAN2 of random weights, of which none is zero, with a deployment of it."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latentfp import rng
from latentfp.deployment import fitting
from latentfp.deployment.deployment import Deployment
from latentfp.generators import pretrained
from latentfp.generators.stylegan2 import model

FIELDS = {"size": 16, "channels": [6, 5, 4], "latent_dim": 24, "mapping_layers": 2}
SIGMA, SHIFT, BITS = 0.5, 8, 16


def write_random_stylegan2(folder: Path) -> str:
    """A generator folder; returns its name for `fit`."""
    params = {
        **model.init(model.networks(**FIELDS), rng.root(1)),
        "w_average": jnp.zeros(FIELDS["latent_dim"]),
    }
    leaves, tree = jax.tree.flatten(params)
    draw = np.random.default_rng(2)
    shaken = [leaf + 0.1 * draw.standard_normal(leaf.shape).astype(np.float32) for leaf in leaves]
    whole = jax.tree.unflatten(tree, shaken)
    pretrained.save(folder, kind="stylegan2", fields=FIELDS, params=whole, noise_seed=3, half=False)
    return str(folder)


def fit_random_stylegan2(folder: Path, **changed: Any) -> Deployment:
    """A deployment without users, 16 bits on axes 8 to 23 of 24."""
    generator = write_random_stylegan2(folder / "generator")
    usual = {"sigma": SIGMA, "shift": SHIFT, "bits": BITS, "samples": 5000}
    return fitting.fit(folder / "deployment", generator=generator, **{**usual, **changed})
