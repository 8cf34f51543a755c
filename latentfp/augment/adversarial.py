"""Adversarial changes: the smallest-looking change that does the most to what a network sees.

Projected gradient ascent in the ball |y - x| ≤ radius of every value, from a random start:

    y ← clip(x + limit(y + step · sign ∇ gain(y) - x, ± radius), -1, 1),    step = radius / 20

Source: Madry et al. 2018, *Towards Deep Learning Models Resistant to Adversarial Attacks*; number and size of
the steps, and `away_from`, as in the embedding attacks of WAVES, which move what an encoder sees.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from latentfp.types import Image, Key, Scalar

STEPS = 200
Features = Callable[[Image], Float[Array, "..."]]
Gain = Callable[[Image], Scalar]


def ascend(key: Key, image: Image, *, gain: Gain, radius: float | Scalar, steps: int = STEPS) -> Image:
    """The image, moved to increase `gain`. `radius` is in units of [-1, 1]: 2/255 is a grey level."""
    start = image + radius * jax.random.uniform(key, image.shape, minval=-1, maxval=1)

    def step(_: Array, moved: Image) -> Image:
        raised = moved + radius / 20 * jnp.sign(jax.grad(gain)(moved))
        return jnp.clip(image + jnp.clip(raised - image, -radius, radius), -1, 1)

    return jax.lax.fori_loop(0, steps, step, jnp.clip(start, -1, 1))


def away_from(features: Features, image: Image) -> Gain:
    """The mean squared change of the features of `image`."""
    there = jax.lax.stop_gradient(features(image))
    return lambda moved: jnp.mean(jnp.square(features(moved) - there))
