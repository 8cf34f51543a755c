"""Gradients against central differences, in float64."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

STEP = 1e-5
# A central difference is wrong by STEP² times a third derivative, 1e-10, and by eps64 |f| / STEP, 1e-8 for
# |f| of some hundreds. That is relative to derivatives that are seldom below 0.01.
FINITE_DIFFERENCE = 1e-5


def assert_gradient(function: Callable[[jax.Array], jax.Array], x: ArrayLike) -> None:
    """The derivative of a random combination of the outputs in a random direction, found in two ways."""
    with jax.enable_x64(True):
        draw = np.random.default_rng(11)
        x = jnp.asarray(x, jnp.float64)
        direction = draw.standard_normal(x.shape)
        combination = draw.standard_normal(jax.eval_shape(function, x).shape)
        both = jax.jit(jax.value_and_grad(lambda x: jnp.sum(combination * function(x))))
        numeric = (both(x + STEP * direction)[0] - both(x - STEP * direction)[0]) / (2 * STEP)
        np.testing.assert_allclose(jnp.vdot(both(x)[1], direction), numeric, rtol=FINITE_DIFFERENCE)
