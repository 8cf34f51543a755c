"""StyleGAN2's losses, as functions of the weights.

    discriminator   softplus(D(G(w))) + softplus(-D(x))
    R1              |∇ₓ D(x)|²
    generator       softplus(-D(G(w)))
    path length     (|Jᵀy| - a)², y = noise / √(h w), a its running mean

w comes from the mapping network with style mixing; noise maps are drawn afresh for every image.
Source: Karras et al. 2020 (arXiv 1912.04958), section 3 and appendix B; Mescheder et al. 2018 (arXiv
1801.04406) for R1.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from latentfp import rng
from latentfp.generators.stylegan2 import model
from latentfp.generators.stylegan2.discriminator import Discriminator
from latentfp.generators.stylegan2.layers import apply
from latentfp.generators.stylegan2.mapping import LayerLatents, broadcast, mix
from latentfp.types import Images, Key, Params, Scalar


class Gan(NamedTuple):
    """Networks, optimisers and strengths of one training run."""

    nets: model.StyleGAN2
    critic: Discriminator
    generator_optimizer: optax.GradientTransformation
    discriminator_optimizer: optax.GradientTransformation
    r1_gamma: float
    r1_every: int
    path_weight: float
    path_every: int
    path_decay: float
    path_shrink: int
    mixing: float
    average_halflife: float
    flip: bool


def draw_styles(gan: Gan, params: Params, key: Key, n: int) -> LayerLatents:
    """Per-layer latents of n images; a share `mixing` of them changes latent at a random layer."""
    z = jax.random.normal(rng.stream(key, "z"), (2, n, gan.nets.mapping.inputs))
    w = apply(gan.nets.mapping, params["mapping"], z.reshape(2 * n, -1))
    coarse, fine = (broadcast(half, gan.nets.layers) for half in jnp.split(w, 2))
    crossover = jax.random.randint(rng.stream(key, "crossover"), (n,), 1, gan.nets.layers)
    mixed = jax.random.bernoulli(rng.stream(key, "mixed"), gan.mixing, (n,))
    return mix(coarse, fine, jnp.where(mixed, crossover, gan.nets.layers))


def render(gan: Gan, params: Params, ws: LayerLatents, key: Key) -> Images:
    """Synthesis with fresh noise maps."""
    noise = model.fresh_noise(key, gan.nets.synthesis.size, ws.shape[0])
    return apply(gan.nets.synthesis, params["synthesis"], ws, noise)


def judge(gan: Gan, params: Params, images: Images) -> Float[Array, " b"]:
    """The discriminator's logits."""
    return apply(gan.critic, params, images)


def discriminator_loss(
    params: Params, gan: Gan, fake: Images, real: Images
) -> tuple[Scalar, tuple[Array, Array]]:
    """The logistic loss and the logits (fake, real)."""
    on_fake, on_real = judge(gan, params, fake), judge(gan, params, real)
    return jnp.mean(nn.softplus(on_fake) + nn.softplus(-on_real)), (on_fake, on_real)


def r1_penalty(params: Params, gan: Gan, real: Images) -> Scalar:
    """Mean squared norm of the gradient of the logit with respect to the image."""
    gradient = jax.grad(lambda x: jnp.sum(judge(gan, params, x)))(real)
    return jnp.mean(jnp.sum(gradient**2, axis=(1, 2, 3)))


def generator_loss(params: Params, gan: Gan, critic_params: Params, key: Key, n: int) -> Scalar:
    """The non-saturating loss of n new images."""
    fake = render(gan, params, draw_styles(gan, params, key, n), key)
    return jnp.mean(nn.softplus(-judge(gan, critic_params, fake)))


def path_lengths(gan: Gan, params: Params, key: Key, n: int) -> Float[Array, " n"]:
    """|Jᵀy| of n images: root mean over layers of the squared gradient with respect to w."""
    ws = draw_styles(gan, params, key, n)
    images, pull = jax.vjp(lambda w: render(gan, params, w, key), ws)
    y = jax.random.normal(rng.stream(key, "path"), images.shape) / jnp.sqrt(images.shape[1] * images.shape[2])
    return jnp.sqrt(jnp.mean(jnp.sum(pull(y)[0] ** 2, axis=2), axis=1))


def path_penalty(params: Params, gan: Gan, mean: Scalar, key: Key, n: int) -> tuple[Scalar, Scalar]:
    """The penalty and the new running mean of path lengths."""
    lengths = path_lengths(gan, params, key, n)
    mean = mean + gan.path_decay * (jax.lax.stop_gradient(jnp.mean(lengths)) - mean)
    return jnp.mean((lengths - mean) ** 2), mean
