"""A GAN whose losses and gradients are known: linear networks and a quadratic critic of 2×2 images.

    w = M z        image = Σ_layers B_l w_l + s · noise of the first layer        D(x) = c·x + ½ Σ q x²

The second half restates training in float64 NumPy; only the random numbers are JAX's.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from stylegan2_oracle import wide

from latentfp import rng
from latentfp.generators.stylegan2.model import StyleGAN2
from latentfp.training.gan import Gan, GanState

DIM, LAYERS, SIZE = 3, 6, 2  # layers of a StyleGAN2 of 16×16 images
RATE = 0.1


class LinearMapping(nn.Module):
    """M."""

    latent_dim: int = DIM
    classes: int = 0

    @property
    def inputs(self):
        return self.latent_dim

    @nn.compact
    def __call__(self, z):
        return z @ self.param("matrix", nn.initializers.normal(1.0), (DIM, DIM))


class LinearSynthesis(nn.Module):
    """B and s. `size` is the number that tells how many layers and noise maps there are."""

    size: int = 16

    @nn.compact
    def __call__(self, ws, noise):
        basis = self.param("basis", nn.initializers.normal(1.0), (LAYERS, DIM, SIZE, SIZE, 3))
        strength = self.param("strength", nn.initializers.normal(1.0), ())
        seen = noise[0][..., :SIZE, :SIZE].reshape(-1, SIZE, SIZE, 1)
        return jnp.einsum("bld,ldhwc->bhwc", ws, basis) + strength * seen


class QuadraticCritic(nn.Module):
    """c and q. `size` and `group` say what a first batch looks like."""

    size: int = SIZE
    group: int = 1

    @nn.compact
    def __call__(self, images):
        linear = self.param("linear", nn.initializers.normal(1.0), (SIZE, SIZE, 3))
        square = self.param("square", nn.initializers.normal(1.0), (SIZE, SIZE, 3))
        return jnp.sum(images * linear[None] + 0.5 * images**2 * square[None], axis=(1, 2, 3))


def make(**fields) -> Gan:
    """Plain gradient descent with step `RATE`, so that an update shows its gradient."""
    return Gan(
        nets=StyleGAN2(LinearMapping(), LinearSynthesis()),  # type: ignore[arg-type]
        critic=QuadraticCritic(),  # type: ignore[arg-type]
        generator_optimizer=optax.sgd(RATE),
        discriminator_optimizer=optax.sgd(RATE),
        **{
            "r1_gamma": 0.7,
            "r1_every": 3,
            "path_weight": 1.5,
            "path_every": 5,
            "path_decay": 0.2,
            "path_shrink": 2,
            "mixing": 0.6,
            "average_halflife": 100.0,
            "flip": True,
            **fields,
        },
    )


class Numbers(NamedTuple):
    """The weights in float64."""

    matrix: np.ndarray
    basis: np.ndarray
    strength: np.ndarray
    linear: np.ndarray
    square: np.ndarray


def numbers(state: GanState) -> Numbers:
    """The weights of a state."""
    generator, critic = state.generator, state.discriminator
    found = (generator["mapping"], generator["synthesis"], generator["synthesis"], critic, critic)
    pairs = zip(found, Numbers._fields, strict=True)
    return Numbers(*(np.asarray(params[name], np.float64) for params, name in pairs))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(x))


def logits(net: Numbers, x):
    return np.sum(net.linear * x + 0.5 * net.square * x**2, axis=(1, 2, 3))


def slopes(net: Numbers, x):
    """∇ₓ D."""
    return net.linear + net.square * x


class Drawn(NamedTuple):
    """What n generated images are made of: z [n layers d], the latent of every layer, and noise [n h w]."""

    z: np.ndarray
    noise: np.ndarray


def draw(gan: Gan, key, n: int) -> Drawn:
    """Two latents an image; a share `mixing` of images changes from one to the other at a random layer."""
    z = wide(jax.random.normal(rng.stream(key, "z"), (2, n, DIM)))
    crossover = np.asarray(jax.random.randint(rng.stream(key, "crossover"), (n,), 1, LAYERS))
    mixed = np.asarray(jax.random.bernoulli(rng.stream(key, "mixed"), gan.mixing, (n,)))
    layers = np.empty((n, LAYERS, DIM))
    for image, layer in np.ndindex(n, LAYERS):
        second = mixed[image] and layer >= crossover[image]
        layers[image, layer] = z[int(second), image]
    noise = jax.random.normal(rng.stream(key, "noise", 0), (n, 4, 4))[:, :SIZE, :SIZE]
    return Drawn(layers, wide(noise))


def render(net: Numbers, drawn: Drawn):
    ws = drawn.z @ net.matrix
    return np.einsum("bld,ldhwc->bhwc", ws, net.basis) + net.strength * drawn.noise[..., None]


def pull_back(net: Numbers, drawn: Drawn, cotangent):
    """Gradients with respect to matrix, basis and strength, given those of the images."""
    ws = drawn.z @ net.matrix
    on_ws = np.einsum("bhwc,ldhwc->bld", cotangent, net.basis)
    return (
        np.einsum("blz,bld->zd", drawn.z, on_ws),
        np.einsum("bld,bhwc->ldhwc", ws, cotangent),
        np.sum(cotangent * drawn.noise[..., None]),
    )
