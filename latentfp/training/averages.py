"""Moving averages of weights."""

from typing import TypeVar

import jax
import jax.numpy as jnp

from latentfp.types import Count

Tree = TypeVar("Tree")


def averaged(average: Tree, new: Tree, *, decay: float, step: Count | int) -> Tree:
    """The average after one more `new` tree; early in a run it moves faster than `decay` says."""
    share = jnp.minimum(decay, (1 + step) / (10.0 + step))
    return jax.tree.map(lambda a, n: n + share * (a - n), average, new)
