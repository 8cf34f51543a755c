"""The training of a denoiser in the latent space of a first stage that stays as it is.

    z₀ = scale · latent of an image,    z_t = √ā_t z₀ + √(1 - ā_t) noise
    loss = mean |denoise(z_t, t) - noise|²

with times drawn evenly over a batch (stratified), which lowers the variance of the loss.
Source: Ho et al. 2020 (arXiv 2006.11239), equation 14; Rombach et al. 2022 (arXiv 2112.10752).
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from latentfp import rng
from latentfp.generators import pretrained
from latentfp.generators.generator import Generator
from latentfp.generators.latent_diffusion import first_stage as stages
from latentfp.generators.latent_diffusion import model
from latentfp.generators.latent_diffusion.first_stage import LatentMaps
from latentfp.generators.latent_diffusion.model import LatentDiffusion
from latentfp.generators.latent_diffusion.unet import UNet
from latentfp.runtime import fields
from latentfp.runtime.loop import Objective
from latentfp.runtime.metrics import Metrics
from latentfp.training.steps import averaged, flipped, moved, warm_cosine
from latentfp.types import Count, Images, Key, Params, Scalar


class Learning(NamedTuple):
    """Adam on gradients of norm at most 1, linear warm-up, cosine to a hundredth at `steps`."""

    rate: float
    warmup: int
    steps: int
    average_decay: float


class Task(NamedTuple):
    """All that training needs and does not change."""

    nets: LatentDiffusion
    generator: Generator
    first_stage: Params
    scale: float
    signal: Float[Array, " t"]
    learning: Learning
    optimizer: optax.GradientTransformation


class DiffusionState(NamedTuple):
    """Everything that training changes; arrays only."""

    weights: Params
    average: Params  # moving average: the weights to ship
    optimizer: optax.OptState


def latents(task: Task, images: Images, key: Key) -> LatentMaps:
    """Latents of images [b, h, w, 3], of unit variance; drawn from the posterior where there is one."""
    seen = model.moments(task.nets.first_stage, task.first_stage, images)
    if task.nets.first_stage.codes:
        return task.scale * seen
    found = stages.posterior(seen)
    noise = jax.random.normal(rng.stream(key, "posterior"), found.mean.shape)
    return task.scale * stages.draw(found, noise)


def loss(weights: Params, task: Task, z: LatentMaps, key: Key) -> tuple[Scalar, Float[Array, " b"]]:
    """The mean loss, and the squared error of each image's number."""
    n, times = z.shape[0], task.signal.shape[0]
    even = (jnp.arange(n) + jax.random.uniform(rng.stream(key, "time"), (n,))) * times / n
    t = jnp.minimum(even.astype(int), times - 1)
    noise = jax.random.normal(rng.stream(key, "noise"), z.shape)
    signal = task.signal[t][:, None, None, None]
    noisy = jnp.sqrt(signal) * z + jnp.sqrt(1 - signal) * noise
    told = model.denoise(task.nets.denoiser, weights, noisy, t.astype(jnp.float32))
    each = jnp.mean(jnp.square(told - noise), axis=(1, 2, 3))
    return jnp.mean(each), each


def update(
    task: Task, state: DiffusionState, key: Key, real: Images, step: Count
) -> tuple[DiffusionState, Metrics]:
    """One step on a batch of real images [b, h, w, 3]."""
    z = latents(task, flipped(key, real), key)
    gradient, each = jax.grad(loss, has_aux=True)(state.weights, task, z, rng.stream(key, "diffusion"))
    weights, optimizer = moved(task.optimizer, gradient, state.optimizer, state.weights)
    average = averaged(state.average, weights, decay=task.learning.average_decay, step=step)
    n = each.shape[0]
    metrics = {
        "loss": (jnp.sum(each), jnp.float32(n)),
        "loss/early": (jnp.sum(each[: n // 4]), jnp.float32(n // 4)),
        "variance": (jnp.var(z), jnp.float32(1)),
    }
    return DiffusionState(weights, average, optimizer), metrics


def init(task: Task, key: Key) -> DiffusionState:
    """A fresh state."""
    blank = jnp.zeros((1, *task.nets.shape))
    weights = task.nets.denoiser.init(rng.stream(key, "denoiser"), blank, jnp.zeros(1))["params"]
    return DiffusionState(weights, jax.tree.map(jnp.copy, weights), task.optimizer.init(weights))


def preview(task: Task, state: DiffusionState, key: Key, n: int = 64) -> Images:
    """n samples of the averaged denoiser, decoded."""
    params = {"first_stage": task.first_stage, "denoiser": state.average}
    return task.generator.synthesize(params, task.generator.sample(params, key, n))


def export(task: Task, fields: Mapping[str, Any], state: DiffusionState, folder: Path) -> None:
    """Write the first stage and the averaged denoiser as a folder that `fit` reads."""
    params = {"first_stage": task.first_stage, "denoiser": state.average}
    pretrained.save(folder, kind="latent_diffusion", fields=fields, params=params, noise_seed=0)


def objective(
    *,
    first_stage: str,
    denoiser: Mapping[str, Any],
    schedule: str = "linear",
    steps: int = 50,
    eta: float = 1.0,
    learning: Learning,
) -> Objective:
    """The objective of the denoiser for the first stage in a folder.

    `denoiser`: fields of `UNet`; `steps` and `eta`: of the DDIM sampler that the finished generator has.
    ValueError where the folder holds no first stage.
    """
    fields.check(UNet, denoiser, section="config.objective.denoiser", given={"parent", "name", "latent"})
    stored = pretrained.read(Path(first_stage))
    if stored.kind != "first_stage":
        raise ValueError(f"{first_stage} holds a {stored.kind}, expected a first_stage: train one first")
    parts = {
        "size": stored.fields["size"],
        "first_stage": stored.fields["network"],
        "denoiser": dict(denoiser),
    }
    sampling = {"scale": stored.fields["scale"], "schedule": schedule, "steps": steps, "eta": eta}
    rate = warm_cosine(learning.rate, learning.warmup, learning.steps)
    task = Task(
        nets=model.networks(**parts),
        generator=model.make(**parts, **sampling),
        first_stage=jax.tree.map(np.asarray, stored.params),
        scale=stored.fields["scale"],
        signal=jnp.asarray(model.signal_of(schedule)),
        learning=learning,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b2=0.99)),
    )
    return Objective(
        partial(init, task),
        partial(update, task),
        partial(preview, task),
        export=partial(export, task, parts | sampling),
    )
