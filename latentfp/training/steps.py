"""What trainings share: the rate of learning, a step of the weights and of their average, mirrored images."""

from typing import TypeVar

import jax
import jax.numpy as jnp
import optax

from latentfp import rng
from latentfp.types import Count, Images, Key, Params

Tree = TypeVar("Tree")


def warm_cosine(rate: float, warmup: int, steps: int) -> optax.Schedule:
    """Linear from 0 to `rate` in `warmup` steps, then a cosine to a hundredth of it at `steps`."""
    return optax.warmup_cosine_decay_schedule(0.0, rate, warmup, steps, rate / 100)


def moved(
    optimizer: optax.GradientTransformation, gradient: Params, state: optax.OptState, weights: Params
) -> tuple[Params, optax.OptState]:
    """The weights and the optimiser's state after one step."""
    updates, state = optimizer.update(gradient, state, weights)
    return optax.apply_updates(weights, updates), state


def averaged(average: Tree, new: Tree, *, decay: float, step: Count | int) -> Tree:
    """The moving average after one more `new` tree; early in a run it moves faster than `decay` says."""
    share = jnp.minimum(decay, (1 + step) / (10.0 + step))
    return jax.tree.map(lambda a, n: n + share * (a - n), average, new)


def flipped(key: Key, real: Images, *, flip: bool = True) -> Images:
    """Half of the images mirrored, if the data have no left and right."""
    if not flip:
        return real
    mirrored = jax.random.bernoulli(rng.stream(key, "flip"), 0.5, (real.shape[0], 1, 1, 1))
    return jnp.where(mirrored, real[:, :, ::-1], real)
