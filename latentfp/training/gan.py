"""StyleGAN2's training: its losses as functions of the weights, and what one step does with them.

    discriminator   softplus(D(G(w))) + softplus(-D(x))
    R1              |∇ₓ D(x)|²
    generator       softplus(-D(G(w)))
    path length     (|Jᵀy| - a)², y = noise / √(h w), a its running mean

w comes from the mapping network with style mixing; noise maps are drawn afresh for every image. Every step
moves both networks, then the exponential moving average of the generator's weights (half-life in images).
Lazy steps follow: (γ/2) R1 every `r1_every` steps, times `r1_every`; `path_weight` times the path length
penalty every `path_every` steps, times `path_every`. A lazily regularised network runs Adam with lr · c and
β₂ᶜ, c = every / (every + 1).

Source: Karras et al. 2020 (arXiv 1912.04958), sections 3 and 3.1 and appendix B; Mescheder et al. 2018 (arXiv
1801.04406) for R1.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from latentfp import rng
from latentfp.generators import pretrained
from latentfp.generators.stylegan2 import model
from latentfp.generators.stylegan2.layers import apply
from latentfp.generators.stylegan2.networks import Discriminator, LayerLatents, broadcast, mix
from latentfp.runtime.loop import Lazy, Objective
from latentfp.runtime.metrics import Metrics
from latentfp.training.steps import flipped, moved
from latentfp.types import Count, Images, Key, Params, Scalar


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


class GanState(NamedTuple):
    """Everything that training changes; arrays only."""

    generator: Params
    discriminator: Params
    average: Params  # moving average of the generator: the weights to ship
    generator_optimizer: optax.OptState
    discriminator_optimizer: optax.OptState
    path_mean: Scalar


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


def discriminator_loss(
    params: Params, gan: Gan, fake: Images, real: Images
) -> tuple[Scalar, tuple[Array, Array]]:
    """The logistic loss and the logits (fake, real)."""
    on_fake, on_real = apply(gan.critic, params, fake), apply(gan.critic, params, real)
    return jnp.mean(nn.softplus(on_fake) + nn.softplus(-on_real)), (on_fake, on_real)


def r1_penalty(params: Params, gan: Gan, real: Images) -> Scalar:
    """Mean squared norm of the gradient of the logit with respect to the image."""
    gradient = jax.grad(lambda x: jnp.sum(apply(gan.critic, params, x)))(real)
    return jnp.mean(jnp.sum(gradient**2, axis=(1, 2, 3)))


def generator_loss(params: Params, gan: Gan, critic_params: Params, key: Key, n: int) -> Scalar:
    """The non-saturating loss of n new images."""
    fake = render(gan, params, draw_styles(gan, params, key, n), key)
    return jnp.mean(nn.softplus(-apply(gan.critic, critic_params, fake)))


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


def lazy_adam(learning_rate: float, beta2: float, every: int) -> optax.GradientTransformation:
    """Adam without momentum for a network that gets one extra, lazy update every `every` steps."""
    c = every / (every + 1)
    return optax.adam(learning_rate * c, b1=0.0, b2=beta2**c, eps=1e-8)


def update_discriminator(gan: Gan, state: GanState, key: Key, real: Images) -> tuple[GanState, Metrics]:
    """One step on the logistic loss."""
    n = real.shape[0]
    fake = render(gan, state.generator, draw_styles(gan, state.generator, key, n), key)
    loss = jax.value_and_grad(discriminator_loss, has_aux=True)
    (value, (on_fake, on_real)), gradient = loss(state.discriminator, gan, fake, real)
    metrics = {
        "loss/discriminator": (value, jnp.float32(1)),
        "sign/real": (jnp.sum(jnp.sign(on_real)), jnp.float32(n)),
        "sign/fake": (jnp.sum(jnp.sign(on_fake)), jnp.float32(n)),
    }
    return step_discriminator(gan, state, gradient), metrics


def update_generator(gan: Gan, state: GanState, key: Key, n: int) -> tuple[GanState, Metrics]:
    """One step on the non-saturating loss of n images."""
    value, gradient = jax.value_and_grad(generator_loss)(state.generator, gan, state.discriminator, key, n)
    return step_generator(gan, state, gradient), {"loss/generator": (value, jnp.float32(1))}


def step_discriminator(gan: Gan, state: GanState, gradient: Params) -> GanState:
    """Adam."""
    adam, before = gan.discriminator_optimizer, state.discriminator_optimizer
    params, optimizer = moved(adam, gradient, before, state.discriminator)
    return state._replace(discriminator=params, discriminator_optimizer=optimizer)


def step_generator(gan: Gan, state: GanState, gradient: Params) -> GanState:
    """Adam."""
    params, optimizer = moved(gan.generator_optimizer, gradient, state.generator_optimizer, state.generator)
    return state._replace(generator=params, generator_optimizer=optimizer)


def update_average(gan: Gan, state: GanState, n: int, step: Count) -> GanState:
    """Move the average; its half-life grows with the run until it reaches `average_halflife` images."""
    halflife = jnp.minimum(gan.average_halflife, 0.05 * n * (step + 1))
    decay = 0.5 ** (n / jnp.maximum(halflife, 1e-3))
    average = jax.tree.map(lambda a, g: g + decay * (a - g), state.average, state.generator)
    return state._replace(average=average)


def init(gan: Gan, key: Key) -> GanState:
    """A fresh state."""
    generator = model.init(gan.nets, rng.stream(key, "generator"))
    blank = jnp.zeros((gan.critic.group, gan.critic.size, gan.critic.size, 3))
    discriminator = gan.critic.init(rng.stream(key, "discriminator"), blank)["params"]
    return GanState(
        generator=generator,
        discriminator=discriminator,
        average=jax.tree.map(jnp.copy, generator),
        generator_optimizer=gan.generator_optimizer.init(generator),
        discriminator_optimizer=gan.discriminator_optimizer.init(discriminator),
        path_mean=jnp.zeros(()),
    )


def update(gan: Gan, state: GanState, key: Key, real: Images, step: Count) -> tuple[GanState, Metrics]:
    """One step of both networks on a batch of real images [b, h, w, 3]."""
    n = real.shape[0]
    real = flipped(key, real, flip=gan.flip)
    state, on_discriminator = update_discriminator(gan, state, rng.stream(key, "discriminator"), real)
    state, on_generator = update_generator(gan, state, rng.stream(key, "generator"), n)
    return update_average(gan, state, n, step), {**on_discriminator, **on_generator}


def regularize_discriminator(
    gan: Gan, state: GanState, key: Key, real: Images, step: Count
) -> tuple[GanState, Metrics]:
    """The lazy step on R1."""
    del step
    penalty, gradient = jax.value_and_grad(r1_penalty)(
        state.discriminator, gan, flipped(key, real, flip=gan.flip)
    )
    gradient = jax.tree.map(lambda g: g * (gan.r1_gamma / 2 * gan.r1_every), gradient)
    return step_discriminator(gan, state, gradient), {"r1": (penalty, jnp.float32(1))}


def regularize_generator(
    gan: Gan, state: GanState, key: Key, real: Images, step: Count
) -> tuple[GanState, Metrics]:
    """The lazy step on path lengths, with 1 / path_shrink of the batch."""
    del step
    loss = jax.value_and_grad(path_penalty, has_aux=True)
    n = max(1, real.shape[0] // gan.path_shrink)
    (penalty, mean), gradient = loss(state.generator, gan, state.path_mean, key, n)
    gradient = jax.tree.map(lambda g: g * (gan.path_weight * gan.path_every), gradient)
    metrics = {"path/penalty": (penalty, jnp.float32(1)), "path/length": (mean, jnp.float32(1))}
    return step_generator(gan, state, gradient)._replace(path_mean=mean), metrics


def preview(gan: Gan, state: GanState, key: Key, n: int = 64) -> Images:
    """n images of the averaged generator, without style mixing."""
    z = jax.random.normal(rng.stream(key, "z"), (n, gan.nets.mapping.inputs))
    w = apply(gan.nets.mapping, state.average["mapping"], z)
    return render(gan, state.average, broadcast(w, gan.nets.layers), key)


def export(gan: Gan, fields: Mapping[str, Any], state: GanState, folder: Path, *, noise_seed: int) -> None:
    """Write the averaged generator as a folder that `fit` reads; w_average is the mean of 10 000 w."""
    z = jax.random.normal(rng.stream(rng.root(noise_seed), "w_average"), (10_000, gan.nets.mapping.inputs))
    w = apply(gan.nets.mapping, state.average["mapping"], z)
    params = {**state.average, "w_average": jnp.mean(w, axis=0)}
    pretrained.save(folder, kind="stylegan2", fields=fields, params=params, noise_seed=noise_seed)


def objective(
    *,
    size: int,
    channels: Sequence[int],
    latent_dim: int = 512,
    mapping_layers: int = 8,
    clamp: float | None = None,
    dtype: str = "float32",
    learning_rate: float = 2e-3,
    beta2: float = 0.99,
    r1_gamma: float,
    r1_every: int = 16,
    path_weight: float = 2.0,
    path_every: int = 4,
    path_decay: float = 0.01,
    path_shrink: int = 2,
    mixing: float = 0.9,
    average_halflife: float = 10_000.0,
    flip: bool = True,
    noise_seed: int = 0,
) -> Objective:
    """The objective of one StyleGAN2.

    Network fields as in `model.networks`; `average_halflife` in images; `noise_seed`: of the fixed noise maps
    that the finished generator gets.
    """
    fields: dict[str, Any] = {
        "size": size,
        "channels": list(channels),
        "latent_dim": latent_dim,
        "mapping_layers": mapping_layers,
        "clamp": clamp,
        "dtype": dtype,
    }
    nets = model.networks(**fields)
    gan = Gan(
        nets=nets,
        critic=Discriminator(size, tuple(channels), clamp=clamp, dtype=jnp.dtype(dtype)),
        generator_optimizer=lazy_adam(learning_rate, beta2, path_every),
        discriminator_optimizer=lazy_adam(learning_rate, beta2, r1_every),
        r1_gamma=r1_gamma,
        r1_every=r1_every,
        path_weight=path_weight,
        path_every=path_every,
        path_decay=path_decay,
        path_shrink=path_shrink,
        mixing=mixing,
        average_halflife=average_halflife,
        flip=flip,
    )
    lazy = (
        Lazy(r1_every, partial(regularize_discriminator, gan)),
        Lazy(path_every, partial(regularize_generator, gan)),
    )
    return Objective(
        partial(init, gan),
        partial(update, gan),
        partial(preview, gan),
        lazy=lazy,
        export=partial(export, gan, fields, noise_seed=noise_seed),
    )
