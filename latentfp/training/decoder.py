"""Training of a decoder: images that the generator makes now, damaged, with labels that are exact.

    w₀ ~ prior,  b ~ fair bits,  w = embed(w₀, b),  x = D(g(w)),  D ~ augment/damage.py

with noise maps that are fresh for some of the images,

    loss = mean over looks of  BCE(logits, b) + content_weight Σ_i v_i (α̂_i - α_i)² / Σ_i v_i
                               + damage_weight |D̂ - D|² / m

v_i = c_i / (c_i + 0.01) is how visible axis i is, c_i its mean curvature: content that nobody can see is not
asked for. Example i of a step follows from the step's key and i; only fresh noise maps are drawn for a batch.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from latentfp import rng
from latentfp.attribution.decoder import Decoder, Reading, blank, looks
from latentfp.attribution.whitening import Curvature, Whitened
from latentfp.augment import damage
from latentfp.fingerprint.basis import Space
from latentfp.fingerprint.embed import Coding, embed
from latentfp.generators.generator import Generator
from latentfp.runtime.loop import Objective
from latentfp.runtime.metrics import Metrics
from latentfp.training.averages import averaged
from latentfp.types import Count, Images, Key, Params, Scalar

VISIBLE = 0.01  # squared change of the image [-1, 1] by one standard deviation along an axis


class Examples(NamedTuple):
    """Damaged images and what is to be read from them."""

    images: Images
    content: Float[Array, "b r"]  # in standard deviations
    code: Bool[Array, "b k"]
    damage: Float[Array, "b m"]


class Network(NamedTuple):
    """The sizes of a decoder, as in attribution/decoder.py."""

    channels: int
    squeeze: int
    width: int
    blocks: int


class Shares(NamedTuple):
    """Of the examples: without damage, with a mixture of damages, with fresh noise maps.

    Training begins with clean images; after `ramp` steps their share has fallen to `clean`.
    """

    clean: float
    mixed: float
    fresh: float
    ramp: int


class Learning(NamedTuple):
    """The optimiser: AdamW, linear warm-up, cosine to a hundredth at `steps`; and the weights of the loss."""

    rate: float
    warmup: int  # steps
    steps: int
    weight_decay: float
    average_decay: float
    looks: int
    content_weight: float
    damage_weight: float


class Source(NamedTuple):
    """A marked generator as an endless source of examples."""

    generator: Generator
    params: Params
    space: Space
    sigma: float
    coding: Coding


class Task(NamedTuple):
    """All that training needs and does not change."""

    decoder: Decoder
    source: Source
    whitened: Whitened
    visible: Float[Array, " r"]
    shares: Shares
    learning: Learning
    optimizer: optax.GradientTransformation


class DecoderState(NamedTuple):
    """Everything that training changes; arrays only."""

    weights: Params
    average: Params  # moving average: the weights to ship
    optimizer: optax.OptState


def draw_examples(
    source: Source, key: Key, numbers: Int[Array, " b"], *, shares: Shares, step: int | Count
) -> Examples:
    """The examples of these numbers of the stream `key`, as training meets them at `step`."""
    n = numbers.shape[0]
    keys = jax.vmap(lambda number: rng.stream(key, "example", number))(numbers)
    w0 = jax.vmap(lambda k: source.generator.sample(source.params, rng.stream(k, "latent"), 1)[0])(keys)
    bits = source.space.code_axes.shape[0]
    code = jax.vmap(lambda k: jax.random.bernoulli(rng.stream(k, "code"), 0.5, (bits,)))(keys)
    w = jax.vmap(partial(embed, source.space, sigma=source.sigma, coding=source.coding))(w0, code)
    plain = source.generator.synthesize(_noise(source, key, n, shares.fresh), w)
    damaged = jnp.minimum(1.0, step / max(1, shares.ramp))
    chances = {"clean": 1 - (1 - shares.clean) * damaged, "mixed": shares.mixed * damaged}
    harm = jax.vmap(lambda k: damage.draw(rng.stream(k, "damage"), **chances))(keys)
    images = jax.vmap(lambda k, x, d: damage.inflict(rng.stream(k, "inflict"), x, d))(keys, plain, harm)
    content = (w0 - source.space.mean[None]) @ source.space.content_axes.T / source.space.content_stds[None]
    return Examples(images, content, code, jax.vmap(damage.coordinates)(harm))


def _noise(source: Source, key: Key, n: int, share: float) -> Params:
    """Parameters whose noise maps are fresh for a `share` of the images, where there are noise maps."""
    if source.generator.renoise is None or share == 0:
        return source.params
    fresh = source.generator.renoise(source.params, rng.stream(key, "noise"), n)
    chosen = jax.random.bernoulli(rng.stream(key, "fresh"), share, (n,))

    def mixed(old: Array, new: Array) -> Array:
        if old.shape == new.shape:
            return old
        return jnp.where(chosen.reshape(n, *(1,) * old.ndim), new, old[None])

    return jax.tree.map(mixed, source.params, fresh)


def loss(task: Task, weights: Params, examples: Examples) -> tuple[Scalar, Metrics]:
    """The mean loss over looks, and the metrics of the last."""
    generator, params, count = task.source.generator, task.source.params, task.learning.looks
    found = looks(task.decoder, weights, generator, params, task.whitened, examples.images, count=count)
    values = [_loss_of_look(task, reading, examples) for reading, _ in found]
    return jnp.mean(jnp.stack(values)), _metrics(task, found[-1][0], examples)


def _loss_of_look(task: Task, reading: Reading, examples: Examples) -> Scalar:
    share = task.visible / jnp.sum(task.visible)
    content = jnp.mean(jnp.square(reading.content - examples.content) @ share)
    harm = jnp.mean(jnp.square(reading.damage - examples.damage))
    return (
        _cross_entropy(reading, examples)
        + task.learning.content_weight * content
        + task.learning.damage_weight * harm
    )


def _cross_entropy(reading: Reading, examples: Examples) -> Scalar:
    return jnp.mean(optax.sigmoid_binary_cross_entropy(reading.logits, examples.code.astype(jnp.float32)))


def _metrics(task: Task, reading: Reading, examples: Examples) -> Metrics:
    n = jnp.float32(examples.code.shape[0])
    right = (reading.logits > 0) == examples.code
    clean = jnp.all(examples.damage == 0, axis=1)
    content = jnp.square(reading.content - examples.content) @ (task.visible / jnp.sum(task.visible))
    return {
        "cross_entropy": (n * _cross_entropy(reading, examples), n),
        "content_error": (jnp.sum(content), n),
        "damage_error": (jnp.sum(jnp.mean(jnp.square(reading.damage - examples.damage), axis=1)), n),
        "bits": (jnp.sum(jnp.mean(right, axis=1)), n),
        "clean/bits": (jnp.sum(jnp.mean(right, axis=1) * clean), jnp.sum(clean, dtype=jnp.float32)),
        "clean/all_bits": (jnp.sum(jnp.all(right, axis=1) * clean), jnp.sum(clean, dtype=jnp.float32)),
    }


def init(task: Task, key: Key) -> DecoderState:
    """A fresh state."""
    image = jnp.zeros((1, *task.source.generator.image_shape))
    reading = blank(1, content=task.decoder.content, bits=task.decoder.bits)
    weights = task.decoder.init(rng.stream(key, "decoder"), image, image, reading)["params"]
    return DecoderState(weights, jax.tree.map(jnp.copy, weights), task.optimizer.init(weights))


def update(
    task: Task, state: DecoderState, key: Key, numbers: Int[Array, " b"], step: Count
) -> tuple[DecoderState, Metrics]:
    """One step on new examples."""
    examples = draw_examples(task.source, key, numbers, shares=task.shares, step=step)
    gradient, metrics = jax.grad(partial(loss, task), has_aux=True)(state.weights, examples)
    updates, optimizer = task.optimizer.update(gradient, state.optimizer, state.weights)
    weights = optax.apply_updates(state.weights, updates)
    average = averaged(state.average, weights, decay=task.learning.average_decay, step=step)
    return DecoderState(weights, average, optimizer), metrics


def adam(learning: Learning) -> optax.GradientTransformation:
    """AdamW on gradients of norm at most 1."""
    rate = optax.warmup_cosine_decay_schedule(
        0.0, learning.rate, learning.warmup, learning.steps, learning.rate / 100
    )
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.99, weight_decay=learning.weight_decay)
    )


def objective(
    source: Source,
    whitened: Whitened,
    curvature: Curvature,
    *,
    network: Network,
    shares: Shares,
    learning: Learning,
    export: Callable[[Params, Path], None],
) -> Objective:
    """The objective of the decoder of one fingerprint space; `export` gets averaged weights and a folder.

    Its batches are numbers of examples, 0 … b - 1, since it makes the examples itself.
    """
    content, bits = source.space.content_axes.shape[0], source.space.code_axes.shape[0]
    seen = jnp.square(curvature.eigenvectors[:content]) @ curvature.eigenvalues
    task = Task(
        decoder=Decoder(content=content, bits=bits, **network._asdict()),
        source=source,
        whitened=whitened,
        visible=seen / (seen + VISIBLE),
        shares=shares,
        learning=learning,
        optimizer=adam(learning),
    )
    return Objective(
        partial(init, task),
        partial(update, task),
        export=lambda state, folder: export(state.average, folder),
    )
