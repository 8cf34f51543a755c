"""The training of a first stage: reconstruction, a latent that is kept simple, and patches that look real.

    reconstruction   mean |x̂ - x|, at the full size and after each of `scales` halvings, averaged
    latent           latent_weight × mean KL divergence a number (codes = 0), or the code book's loss
    inverse          inverse_weight × mean |E(D(z')) - z'|² in the latents' variance, z' = z + noise: the
                     encoder finds again what the decoder is given, off the data too, as a code puts it
    patches          hinge loss of a patch discriminator from step `adversary_from` on

At the reconstruction, the gradient of the patches is given `adversary_weight` times the norm of that of the
reconstruction, so that neither drowns the other (Esser et al. balance the two at the last layer).
Source: Rombach et al. 2022 (arXiv 2112.10752), appendix G; Esser et al. 2021 (arXiv 2012.09841), section 3.2.
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
from latentfp.generators.latent_diffusion import first_stage as stages
from latentfp.generators.latent_diffusion.first_stage import FirstStage, LatentMaps, PatchDiscriminator
from latentfp.generators.latent_diffusion.model import decode, moments
from latentfp.runtime import fields
from latentfp.runtime.loop import Objective
from latentfp.runtime.metrics import Metrics
from latentfp.training.steps import averaged, flipped, moved, warm_cosine
from latentfp.types import Count, Images, Key, Params, Scalar

GIVEN_BY_FLAX = {"parent", "name"}  # of a module
VARIANCE_DECAY = 0.99  # of the moving average of the latents' variance


class Learning(NamedTuple):
    """Adam with linear warm-up and a cosine to a hundredth at `steps`, and the weights of the loss."""

    rate: float
    warmup: int
    steps: int
    average_decay: float
    scales: int
    latent_weight: float
    adversary_weight: float
    adversary_from: int
    inverse_weight: float = 0.0
    inverse_noise: float = 0.5  # standard deviation of z' - z, in those of the latents


class Task(NamedTuple):
    """All that training needs and does not change."""

    stage: FirstStage
    critic: PatchDiscriminator
    learning: Learning
    optimizer: optax.GradientTransformation
    critic_optimizer: optax.GradientTransformation


class StageState(NamedTuple):
    """Everything that training changes; arrays only."""

    weights: Params
    average: Params  # moving average: the weights to ship
    optimizer: optax.OptState
    critic: Params
    critic_optimizer: optax.OptState
    variance: Scalar  # of a number of a latent, moving average


def distance(a: Images, b: Images, *, scales: int) -> Scalar:
    """Mean absolute difference, averaged over the full size and `scales` halvings."""
    difference, values = a - b, []
    for _ in range(scales + 1):
        values.append(jnp.mean(jnp.abs(difference)))
        difference = nn.avg_pool(difference, (2, 2), strides=(2, 2))
    return jnp.mean(jnp.stack(values))


def encode(task: Task, weights: Params, images: Images, key: Key) -> tuple[LatentMaps, Scalar]:
    """Latents as the decoder gets them, and the loss that keeps them simple."""
    seen = moments(task.stage, weights, images)
    if task.stage.codes:
        return seen, stages.codebook_loss(seen, weights["codebook"])
    found = stages.posterior(seen)
    noise = jax.random.normal(rng.stream(key, "posterior"), found.mean.shape)
    each = jnp.mean(stages.divergence(found)) / found.mean[0].size
    return stages.draw(found, noise), task.learning.latent_weight * each


def inverse(task: Task, weights: Params, z: LatentMaps, key: Key, variance: Scalar) -> Scalar:
    """How far the encoder misses latents near `z` in images that are decoded from them."""
    if task.learning.inverse_weight == 0:
        return jnp.zeros(())
    noise = jax.random.normal(rng.stream(key, "inverse"), z.shape)
    given = jax.lax.stop_gradient(z) + task.learning.inverse_noise * jnp.sqrt(variance) * noise
    seen = moments(task.stage, weights, decode(task.stage, weights, given))
    return jnp.mean(jnp.square(seen[..., : task.stage.latent] - given)) / variance


def balanced(task: Task, critic: Params, made: Images, real: Images, step: Count) -> tuple[Array, Scalar]:
    """The gradient of reconstruction and patches at the images `made`, and the distance to the real ones."""
    apart, gradient = jax.value_and_grad(partial(distance, scales=task.learning.scales))(made, real)
    patches = jax.grad(lambda images: -jnp.mean(_judge(task, critic, images)))(made)
    ratio = jnp.linalg.norm(gradient) / jnp.maximum(jnp.linalg.norm(patches), 1e-12)
    weight = task.learning.adversary_weight * (step >= task.learning.adversary_from)
    return gradient + weight * ratio * patches, apart


def update(task: Task, state: StageState, key: Key, real: Images, step: Count) -> tuple[StageState, Metrics]:
    """One step of both networks on a batch of real images [b, h, w, 3]."""
    real = flipped(key, real)

    def render(weights: Params) -> tuple[tuple[Images, Scalar], tuple[LatentMaps, Scalar, Scalar]]:
        z, simple = encode(task, weights, real, key)
        missed = inverse(task, weights, z, key, state.variance)
        aside = simple + task.learning.inverse_weight * missed
        return (decode(task.stage, weights, z), aside), (z, simple, missed)

    (made, aside), pull, (z, simple, missed) = jax.vjp(render, state.weights, has_aux=True)
    at_images, apart = balanced(task, state.critic, made, real, step)
    (gradient,) = pull((at_images, jnp.ones_like(aside)))
    weights, optimizer = moved(task.optimizer, gradient, state.optimizer, state.weights)
    judging, at_critic = jax.value_and_grad(partial(_hinge, task))(state.critic, made, real)
    critic, critic_optimizer = moved(task.critic_optimizer, at_critic, state.critic_optimizer, state.critic)
    state = StageState(
        weights=weights,
        average=averaged(state.average, weights, decay=task.learning.average_decay, step=step),
        optimizer=optimizer,
        critic=critic,
        critic_optimizer=critic_optimizer,
        variance=averaged(state.variance, jnp.var(z), decay=VARIANCE_DECAY, step=step),
    )
    one, error = jnp.float32(1), jnp.mean(jnp.square(made - real), axis=(1, 2, 3))
    metrics = {
        "distance": (apart, one),
        "latent": (simple, one),
        "inverse": (missed, one),
        "hinge": (judging, one),
        "psnr": (jnp.sum(10 * jnp.log10(4 / error)), jnp.float32(len(real))),
        "variance": (state.variance, one),
    }
    return state, metrics


def _judge(task: Task, critic: Params, images: Images) -> Float[Array, "b i j"]:
    return task.critic.apply({"params": critic}, images)  # type: ignore[return-value]


def _hinge(task: Task, critic: Params, made: Images, real: Images) -> Scalar:
    on_made, on_real = _judge(task, critic, made), _judge(task, critic, real)
    return jnp.mean(nn.relu(1 + on_made) + nn.relu(1 - on_real)) / 2


def init(task: Task, size: int, key: Key) -> StageState:
    """A fresh state."""
    weights = stages.init(task.stage, key, size)
    critic = task.critic.init(rng.stream(key, "critic"), jnp.zeros((1, size, size, 3)))["params"]
    return StageState(
        weights=weights,
        average=jax.tree.map(jnp.copy, weights),
        optimizer=task.optimizer.init(weights),
        critic=critic,
        critic_optimizer=task.critic_optimizer.init(critic),
        variance=jnp.ones(()),
    )


def export(size: int, network: Mapping[str, Any], state: StageState, folder: Path) -> None:
    """Write the averaged weights, and in the fields the scale that gives latents unit variance."""
    fields = {"size": size, "network": dict(network), "scale": float(state.variance) ** -0.5}
    pretrained.save(folder, kind="first_stage", fields=fields, params=state.average, noise_seed=0)


def objective(
    *, size: int, network: Mapping[str, Any], critic: Sequence[int], learning: Learning
) -> Objective:
    """The objective of one first stage.

    `network`: fields of `FirstStage`; `critic`: channels of the discriminator.
    ValueError for a size in pixels that levels, critic or scales cannot halve as often as they do.
    """
    fields.check(FirstStage, network, section="config.objective.network", given=GIVEN_BY_FLAX)
    factor = 2 ** max(len(network["channels"]) - 1, learning.scales, len(critic))
    if size < factor or size % factor:
        raise ValueError(
            f"size {size} is not a multiple of {factor}, by which levels, scales or critic divide it"
        )
    rate = warm_cosine(learning.rate, learning.warmup, learning.steps)
    task = Task(
        stage=FirstStage(**network),
        critic=PatchDiscriminator(tuple(critic)),
        learning=learning,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b1=0.9, b2=0.99)),
        critic_optimizer=optax.adam(rate, b1=0.5, b2=0.9),
    )
    return Objective(partial(init, task, size), partial(update, task), export=partial(export, size, network))
