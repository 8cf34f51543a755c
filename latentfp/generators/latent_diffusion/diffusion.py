"""Diffusion: noise schedules, which of their times a sampler visits, and DDIM as one loop on the device.

    z_t = √ā_t z_0 + √(1 - ā_t) noise,    ā_t = Π (1 - β),    t = 0 … T - 1

    z₀ = (z - √(1 - ā) ε) / √ā,    z' = √ā' z₀ + √(1 - ā' - s²) ε + s noise,    ε = denoise(z, t)
    s = η √((1 - ā') / (1 - ā)) √(1 - ā / ā')

η = 0 is deterministic. η = 1 has the variance of the true reverse process: on all times of a schedule it is
DDPM's ancestral sampling with the smaller of its two variances. Tables are computed on the host in float64,
as the public implementations do, and stored as float32.
Source: Ho et al. 2020 (arXiv 2006.11239); Nichol and Dhariwal 2021 (arXiv 2102.09672) for the cosine; Song et
al. 2021 (arXiv 2010.02502), equations 12 and 16, for DDIM.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from latentfp import rng
from latentfp.types import Key

TIMES = 1000
Table = Float[np.ndarray, " t"]
Maps = Float[Array, "b i j z"]
Denoise = Callable[[Maps, Float[Array, " b"]], Maps]


def linear(start: float = 0.0015, end: float = 0.0195, times: int = TIMES) -> Table:
    """ā of betas whose square roots grow linearly: "linear" in latent diffusion, else "scaled linear"."""
    return _cumulative(np.linspace(math.sqrt(start), math.sqrt(end), times) ** 2)


def cosine(offset: float = 0.008, times: int = TIMES) -> Table:
    """ā that falls as cos²; no beta above 0.999."""
    ends = np.arange(times + 1) / times
    falling = np.cos((ends + offset) / (1 + offset) * math.pi / 2) ** 2
    return _cumulative(np.minimum(1 - falling[1:] / falling[:-1], 0.999))


class Visits(NamedTuple):
    """The times that a sampler visits, falling, with ā there and after each step."""

    times: Int[np.ndarray, " n"]
    signal: Float[np.ndarray, " n"]
    signal_after: Float[np.ndarray, " n"]


def spaced(signal: Table, steps: int, *, first: int = 1) -> Visits:
    """Every (T // steps)-th time from `first` on, as latent diffusion's sampler visits them; ends at ā_0.

    Where `steps` does not divide T there can be more visits than that. ValueError unless 1 ≤ steps ≤ T.
    """
    times = np.arange(0, len(signal), _stride(signal, steps)) + first
    times = times[times < len(signal)]
    return Visits(times[::-1], signal[times][::-1], np.concatenate([signal[:1], signal[times[:-1]]])[::-1])


def leading(signal: Table, steps: int, *, first: int = 0, last: float = 1.0) -> Visits:
    """`steps` times from `first` on, T // steps apart, as diffusers visits them; ends at ā = `last`.

    ValueError unless 1 ≤ steps ≤ T and all of these times are among the T.
    """
    times = np.arange(steps) * _stride(signal, steps) + first
    if times[-1] >= len(signal):
        raise ValueError(f"{steps} times from {first} on go beyond the {len(signal)} of the schedule")
    before = times - _stride(signal, steps)
    after = np.where(before >= 0, signal[np.maximum(before, 0)], np.float32(last))
    return Visits(times[::-1], signal[times][::-1], after[::-1])


def last_share(visits: Visits, share: float) -> Visits:
    """The visits of times up to `share` of TIMES: the end of a sampling. ValueError where there are none."""
    kept = visits.times <= share * TIMES
    if not kept.any():
        raise ValueError(f"share {share}: expected at least {visits.times.min() / TIMES}, and at most 1")
    return Visits(*(column[kept] for column in visits))


def _stride(signal: Table, steps: int) -> int:
    if not 1 <= steps <= len(signal):
        raise ValueError(f"got {steps} steps, expected 1 … {len(signal)}, the times of the schedule")
    return len(signal) // steps


def _cumulative(betas: Float[np.ndarray, " t"]) -> Table:
    return np.cumprod(1 - betas).astype(np.float32)


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
