"""DDIM: from noise to a latent, in as many steps as are asked for, as one loop on the device.

    z₀ = (z - √(1 - ā) ε) / √ā,    z' = √ā' z₀ + √(1 - ā' - s²) ε + s noise,    ε = denoise(z, t)
    s = η √((1 - ā') / (1 - ā)) √(1 - ā / ā')

η = 0 is deterministic. η = 1 has the variance of the true reverse process: on all times of a schedule it is
DDPM's ancestral sampling with the smaller of its two variances.
Source: Song et al. 2021 (arXiv 2010.02502), equations 12 and 16; Ho et al. 2020 (arXiv 2006.11239).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latentfp import rng
from latentfp.generators.latent_diffusion.schedule import Visits
from latentfp.types import Key

Maps = Float[Array, "b i j z"]
Denoise = Callable[[Maps, Float[Array, " b"]], Maps]


class Step(NamedTuple):
    """The time of one step, with ā there and after it."""

    time: Float[Array, ""]
    signal: Float[Array, ""]
    signal_after: Float[Array, ""]


def ddim_step(denoise: Denoise, z: Maps, step: Step, noise: Maps, *, eta: float) -> tuple[Maps, Maps]:
    """The latents after one step, and the clean latents z₀ that it predicted."""
    _, signal, after = step
    epsilon = denoise(z, jnp.full(z.shape[0], step.time))
    clean = (z - jnp.sqrt(1 - signal) * epsilon) / jnp.sqrt(signal)
    spread = eta * jnp.sqrt((1 - after) / (1 - signal)) * jnp.sqrt(1 - signal / after)
    towards = jnp.sqrt(jnp.maximum(1 - after - spread**2, 0)) * epsilon
    return jnp.sqrt(after) * clean + towards + spread * noise, clean


def ddim(denoise: Denoise, visits: Visits, key: Key, noise: Maps, *, eta: float) -> Maps:
    """The latents that `noise` [b, i, j, z] becomes; fresh noise of the steps, if η > 0, comes from `key`."""

    def step(z: Maps, one: tuple[Step, Array]) -> tuple[Maps, None]:
        where, number = one
        fresh = jax.random.normal(rng.stream(key, "step", number), z.shape)
        return ddim_step(denoise, z, where, fresh, eta=eta)[0], None

    table = (np.asarray(visits.times, np.float32), visits.signal, visits.signal_after)
    steps = Step(*(jnp.asarray(column) for column in table))
    return jax.lax.scan(step, noise, (steps, jnp.arange(len(visits.times))))[0]
