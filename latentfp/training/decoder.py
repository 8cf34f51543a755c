"""Training of a decoder on examples that the generator makes now (examples.py).

    loss = mean over iterations of  BCE(logits, b) + content_weight Σ_i v_i (α̂_i - α_i)² / Σ_i v_i
                               + damage_weight |D̂ - D|² / m

v_i = c_i / (c_i + 0.01) is how visible axis i is, c_i its mean curvature: content that nobody can see is not
asked for.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from latentfp import rng
from latentfp.attribution.decoder import Decoder, Reading, blank, iterate
from latentfp.attribution.whitening import Curvature, Whitened
from latentfp.runtime import fields
from latentfp.runtime.loop import Lazy, Objective
from latentfp.runtime.metrics import Metrics
from latentfp.training import pool as pools
from latentfp.training.examples import Examples, Shares, Source, draw_examples
from latentfp.training.pool import Pool, Pooled
from latentfp.training.steps import averaged, moved, warm_cosine
from latentfp.types import Count, Key, Params, Scalar

Errors = tuple[Scalar, Float[Array, " b"], Float[Array, "b m"]]
VISIBLE = 0.01  # squared change of the image [-1, 1] by one standard deviation along an axis


class Learning(NamedTuple):
    """The optimiser: AdamW, linear warm-up, cosine to a hundredth at `steps`; and the weights of the loss."""

    rate: float
    warmup: int  # steps
    steps: int
    weight_decay: float
    average_decay: float
    iterations: int
    content_weight: float
    damage_weight: float


class Task(NamedTuple):
    """All that training needs and does not change."""

    decoder: Decoder
    source: Source
    whitened: Whitened
    visible: Float[Array, " r"]
    shares: Shares
    learning: Learning
    pool: Pool
    optimizer: optax.GradientTransformation


class DecoderState(NamedTuple):
    """Everything that training changes; arrays only."""

    weights: Params
    average: Params  # moving average: the weights to ship
    optimizer: optax.OptState
    latents: Pooled | None  # from which examples choose; none where each draws its own


def loss(task: Task, weights: Params, examples: Examples) -> tuple[Scalar, Metrics]:
    """The mean loss over iterations, and the metrics of the last."""
    generator, params, learning = task.source.generator, task.source.params, task.learning
    count, share = learning.iterations, task.visible / jnp.sum(task.visible)
    found = iterate(task.decoder, weights, generator, params, task.whitened, examples.images, count=count)
    errors = [_errors(reading, examples, share) for reading, _ in found]
    values = [
        bits + learning.content_weight * jnp.mean(content) + learning.damage_weight * jnp.mean(damage)
        for bits, content, damage in errors
    ]
    return jnp.mean(jnp.stack(values)), _metrics(found[-1][0], errors[-1], examples)


def _errors(reading: Reading, examples: Examples, share: Float[Array, " r"]) -> Errors:
    """The mean cross-entropy of the bits; squared errors of each image's visible content and damage."""
    bits = optax.sigmoid_binary_cross_entropy(reading.logits, examples.code.astype(jnp.float32))
    content = jnp.square(reading.content - examples.content) @ share
    return jnp.mean(bits), content, jnp.square(reading.damage - examples.damage)


def _metrics(reading: Reading, errors: Errors, examples: Examples) -> Metrics:
    bits, content, damage = errors
    n = jnp.float32(examples.code.shape[0])
    right = (reading.logits > 0) == examples.code
    clean = jnp.all(examples.damage == 0, axis=1)
    return {
        "cross_entropy": (n * bits, n),
        "content_error": (jnp.sum(content), n),
        "damage_error": (jnp.sum(jnp.mean(damage, axis=1)), n),
        "bits": (jnp.sum(jnp.mean(right, axis=1)), n),
        "clean/bits": (jnp.sum(jnp.mean(right, axis=1) * clean), jnp.sum(clean, dtype=jnp.float32)),
        "clean/all_bits": (jnp.sum(jnp.all(right, axis=1) * clean), jnp.sum(clean, dtype=jnp.float32)),
    }


def init(task: Task, key: Key) -> DecoderState:
    """A fresh state."""
    image = jnp.zeros((1, *task.source.generator.image_shape))
    reading = blank(1, content=task.decoder.content, bits=task.decoder.bits)
    weights = task.decoder.init(rng.stream(key, "decoder"), image, image, reading)["params"]
    generator, params = task.source.generator, task.source.params
    fresh = rng.stream(key, "latents")
    latents = pools.fill(task.pool, generator, params, fresh) if task.pool.size else None
    return DecoderState(weights, jax.tree.map(jnp.copy, weights), task.optimizer.init(weights), latents)


def update(
    task: Task, state: DecoderState, key: Key, numbers: Int[Array, " b"], step: Count
) -> tuple[DecoderState, Metrics]:
    """One step on new examples."""
    examples = draw_examples(task.source, key, numbers, shares=task.shares, step=step, latents=state.latents)
    gradient, metrics = jax.grad(partial(loss, task), has_aux=True)(state.weights, examples)
    weights, optimizer = moved(task.optimizer, gradient, state.optimizer, state.weights)
    average = averaged(state.average, weights, decay=task.learning.average_decay, step=step)
    return DecoderState(weights, average, optimizer, state.latents), metrics


def renew(
    task: Task, state: DecoderState, key: Key, numbers: Int[Array, " b"], step: Count
) -> tuple[DecoderState, Metrics]:
    """The lazy step on the pool of latents."""
    del numbers
    generator, params = task.source.generator, task.source.params
    if state.latents is None:
        return state, {}
    return state._replace(latents=pools.renew(task.pool, generator, params, state.latents, key, step)), {}


def adam(learning: Learning) -> optax.GradientTransformation:
    """AdamW on gradients of norm at most 1."""
    rate = warm_cosine(learning.rate, learning.warmup, learning.steps)
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.99, weight_decay=learning.weight_decay)
    )


def objective(
    source: Source,
    whitened: Whitened,
    curvature: Curvature,
    *,
    network: Mapping[str, Any],
    shares: Shares,
    learning: Learning,
    pool: Pool,
    export: Callable[[Params, Path], None],
) -> Objective:
    """The objective of the decoder of one fingerprint space; `export` gets averaged weights and a folder.

    `network`: the sizes of `Decoder`. Batches are numbers of examples, 0 … b - 1, since it makes the examples
    itself.
    """
    given = {"content", "bits", "parent", "name"}
    fields.check(Decoder, network, section="config.objective.network", given=given)
    content, bits = source.space.content_axes.shape[0], source.space.code_axes.shape[0]
    seen = jnp.square(curvature.eigenvectors[:content]) @ curvature.eigenvalues
    task = Task(
        decoder=Decoder(content=content, bits=bits, **network),
        source=source,
        whitened=whitened,
        visible=seen / (seen + VISIBLE),
        shares=shares,
        learning=learning,
        pool=pool,
        optimizer=adam(learning),
    )
    return Objective(
        partial(init, task),
        partial(update, task),
        lazy=(Lazy(pool.every, partial(renew, task)),) if pool.size else (),
        export=lambda state, folder: export(state.average, folder),
    )
