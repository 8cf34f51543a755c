"""Schedules, visits and DDIM against the papers' equations in float64."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stylegan2_oracle import wide
from tolerances import Tolerance

from latentfp import rng
from latentfp.generators.latent_diffusion.diffusion import (
    Step,
    Visits,
    cosine,
    ddim,
    ddim_step,
    leading,
    linear,
    spaced,
)

TEN = np.linspace(0.95, 0.05, 10).astype(np.float32)
# ā and its roots in float32. 1 - ā' / ā errs by 2⁻²³, which is of a β of 0.02, the smallest here, 6e-6; the
# root of it by half of that.
STEP = Tolerance(rtol=2e-5, atol=4e-6)


def test_linear_is_the_square_of_a_line():
    signal, table = 1.0, []
    for t in range(1000):
        share = t / 999
        beta = ((1 - share) * math.sqrt(0.0015) + share * math.sqrt(0.0195)) ** 2
        table.append(signal := signal * (1 - beta))
    found = linear()
    assert (found.shape, found.dtype) == ((1000,), np.float32)
    np.testing.assert_allclose(found, table, rtol=2**-23)


def test_linear_between_other_ends():
    found = wide(linear(0.04, 0.25, 4))
    betas = np.square([0.2, 0.3, 0.4, 0.5])
    np.testing.assert_allclose(found, np.cumprod(1 - betas), rtol=2**-23)


@pytest.mark.parametrize(("times", "offset"), [(1000, 0.008), (20, 0.1)])
def test_cosine_until_a_beta_is_too_large(times, offset):
    def falling(t):
        return math.cos((t / times + offset) / (1 + offset) * math.pi / 2) ** 2

    found = cosine(offset, times) if times != 1000 else cosine()
    assert (found.shape, found.dtype) == ((times,), np.float32)
    expected = [falling(t + 1) / falling(0) for t in range(times)]
    np.testing.assert_allclose(found[:-1], expected[:-1], rtol=2**-22)
    # the last beta would be one
    np.testing.assert_allclose(found[-1], 0.001 * expected[-2], rtol=2**-22)


@pytest.mark.parametrize("made", [linear, cosine])
def test_signals_fall_and_stay_above_zero(made):
    signal = made()
    assert (np.diff(signal) < 0).all()
    assert 0.998 < signal[0] < 1
    assert 0 < signal[-1] < 0.01


SPACED = {
    5: ([9, 7, 5, 3, 1], [7, 5, 3, 1, 0]),
    3: ([7, 4, 1], [4, 1, 0]),
    4: ([9, 7, 5, 3, 1], [7, 5, 3, 1, 0]),  # one more than asked for
    6: ([9, 8, 7, 6, 5, 4, 3, 2, 1], [8, 7, 6, 5, 4, 3, 2, 1, 0]),
    1: ([1], [0]),
    10: ([9, 8, 7, 6, 5, 4, 3, 2, 1], [8, 7, 6, 5, 4, 3, 2, 1, 0]),
}
LEADING = {
    5: [8, 6, 4, 2, 0],
    3: [6, 3, 0],
    4: [6, 4, 2, 0],
    1: [0],
    10: [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
}


def assert_visits(visits, times, signal, after):
    np.testing.assert_array_equal(visits.times, times)
    np.testing.assert_array_equal(visits.signal, signal)
    np.testing.assert_array_equal(visits.signal_after, after)


@pytest.mark.parametrize(("steps", "expected"), SPACED.items())
def test_spaced_visits(steps, expected):
    times, after = expected
    assert_visits(spaced(TEN, steps), times, TEN[times], TEN[after])


@pytest.mark.parametrize(("steps", "times"), LEADING.items())
def test_leading_visits(steps, times):
    assert_visits(leading(TEN, steps), times, TEN[times], [*TEN[times[1:]], 1])


def test_visits_from_another_time_and_to_another_end():
    assert_visits(spaced(TEN, 5, first=0), [8, 6, 4, 2, 0], TEN[[8, 6, 4, 2, 0]], TEN[[6, 4, 2, 0, 0]])
    visits = leading(TEN, 5, first=1, last=float(TEN[0]))
    assert_visits(visits, [9, 7, 5, 3, 1], TEN[[9, 7, 5, 3, 1]], TEN[[7, 5, 3, 1, 0]])


def test_fifty_steps_of_the_public_schedule():
    visits = spaced(linear(), 50)
    assert (len(visits.times), visits.times[0], visits.times[-1]) == (50, 981, 1)
    np.testing.assert_array_equal(visits.signal_after[:-1], visits.signal[1:])


@pytest.mark.parametrize("steps", [-1, 0, 11])
@pytest.mark.parametrize("how", [spaced, leading])
def test_steps_that_are_not_there_are_refused(how, steps):
    with pytest.raises(ValueError, match=f"got {steps} steps, expected 1 … 10, the times of the schedule"):
        how(TEN, steps)
    with pytest.raises(ValueError, match="10 times from 1 on go beyond the 10"):
        leading(TEN, 10, first=1)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng((seed, *shape)).normal(size=shape), jnp.float32)


def step_of(time, signal, after):
    return Step(jnp.float32(time), jnp.float32(signal), jnp.float32(after))


def timely(z, times):
    """Some function of latents and times."""
    return jnp.sin(z + times[:, None, None, None] / 7)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("time", "signal", "after"), [(5, 0.3, 0.6), (40, 0.01, 0.012), (0, 0.9, 1.0)])
def test_a_step_is_equation_12(eta, time, signal, after):
    """Song et al. 2021, equations 12 and 16."""
    z, noise = normal(3, 2, 2, 4), normal(3, 2, 2, 4, seed=1)
    told = np.sin(wide(z) + time / 7)
    sigma = eta * math.sqrt((1 - after) / (1 - signal)) * math.sqrt(1 - signal / after)
    predicted = (wide(z) - math.sqrt(1 - signal) * told) / math.sqrt(signal)
    direction = math.sqrt(1 - after - sigma**2) * told
    expected = math.sqrt(after) * predicted + direction + sigma * wide(noise)
    actual, clean = ddim_step(timely, z, step_of(time, signal, after), noise, eta=eta)
    np.testing.assert_allclose(clean, predicted, **STEP)
    np.testing.assert_allclose(actual, expected, **STEP)


@pytest.mark.parametrize("t", range(8))
def test_with_eta_one_a_step_is_the_posterior_of_ddpm(t):
    """Ho et al. 2020, equations 6 and 7: q(z_{t-1} | z_t, z_0) with its own, the smaller, variance."""
    betas = np.square(np.linspace(math.sqrt(0.02), math.sqrt(0.4), 8))
    alphas, bars = 1 - betas, [math.prod(1 - betas[: t + 1]) for t in range(-1, 8)]  # bars[0] = 1 is clean
    before, now = bars[t], bars[t + 1]
    z, clean = normal(2, 2, 2, 3), normal(2, 2, 2, 3, seed=1)
    visits = leading(linear(0.02, 0.4, 8), 8)
    step = Step(*(jnp.float32(column[7 - t]) for column in visits))
    assert step.time == t

    def knows(z, _times):
        return (z - math.sqrt(now) * clean) / math.sqrt(1 - now)

    mean = math.sqrt(before) * betas[t] / (1 - now) * wide(clean)
    mean += math.sqrt(alphas[t]) * (1 - before) / (1 - now) * wide(z)
    still, _ = ddim_step(knows, z, step, jnp.zeros_like(z), eta=1.0)
    moved, found = ddim_step(knows, z, step, jnp.ones_like(z), eta=1.0)
    np.testing.assert_allclose(still, mean, **STEP)
    np.testing.assert_allclose(moved - still, math.sqrt((1 - before) / (1 - now) * betas[t]), **STEP)
    np.testing.assert_allclose(found, clean, **STEP)


VARIANCE = 2.5


def optimal(visits):
    """The denoiser of data that are N(0, v): E[noise | z]."""
    table = jnp.zeros(1000).at[jnp.asarray(visits.times.copy())].set(jnp.asarray(visits.signal.copy()))

    def denoise(z, times):
        signal = table[times.astype(int)][:, None, None, None]
        return jnp.sqrt(1 - signal) * z / (signal * VARIANCE + 1 - signal)

    return denoise


def recursion(visits: Visits, eta):
    """Factors c and deviations s of every step z' = c z + s noise."""
    for a, b in zip(wide(visits.signal), wide(visits.signal_after), strict=True):
        epsilon = math.sqrt(1 - a) / (a * VARIANCE + 1 - a)
        sigma = eta * math.sqrt((1 - b) / (1 - a) * (1 - a / b))
        clean = a**0.5 * VARIANCE / (a * VARIANCE + 1 - a)  # E[z₀ | z] / z
        yield math.sqrt(b) * clean + math.sqrt(1 - b - sigma**2) * epsilon, sigma


def variance_after(visits, eta):
    variance = 1.0
    for factor, sigma in recursion(visits, eta):
        variance = factor**2 * variance + sigma**2
    return variance


CASES = [
    (spaced, 50, 0.0, 0.11),
    (leading, 50, 0.5, 0.11),
    (spaced, 50, 1.0, 0.11),
    (leading, 1000, 1.0, 0.01),
]


@pytest.mark.parametrize(("how", "steps", "eta", "near"), CASES)
def test_samples_of_normal_data_have_their_variance(how, steps, eta, near, key):
    """With the best denoiser there is, steps that are not small leave out a part of it, `near` at most."""
    visits, noise = how(linear(), steps), jax.random.normal(rng.stream(key, "start"), (250, 2, 2, 5))
    exact = variance_after(visits, eta)
    assert (1 - near) * VARIANCE < exact < VARIANCE
    made = ddim(optimal(visits), visits, rng.stream(key, "run"), noise, eta=eta)
    # the variance of 5 000 numbers errs by √(2 / 5 000) = 2 %; four of these
    np.testing.assert_allclose(np.var(made), exact, rtol=0.08)
    if eta == 0:  # nothing is drawn
        factor = math.prod(factor for factor, _ in recursion(visits, eta))
        np.testing.assert_allclose(made, factor * wide(noise), rtol=1e-4)


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_every_step_has_fresh_noise_of_its_own_name(eta, key):
    """The whole loop in NumPy, with the noise of the streams."""
    visits, start = spaced(linear(), 7), normal(2, 2, 3, 2)
    z = wide(start)
    for number, (factor, sigma) in enumerate(recursion(visits, eta)):
        z = factor * z + sigma * wide(jax.random.normal(rng.stream(key, "step", number), z.shape))
    made = ddim(optimal(visits), visits, key, start, eta=eta)
    np.testing.assert_allclose(made, z, rtol=1e-4, atol=1e-5)


def test_the_loop_is_one_program_that_is_compiled_once(key):
    """Of one body, however many steps, and for any key."""
    traced, visits = [], spaced(linear(), 40)

    def denoise(z, times):
        traced.append(z.shape)
        return timely(z, times)

    loop: Any = jax.jit(lambda key, noise: ddim(denoise, visits, key, noise, eta=1.0))
    first = loop(key, normal(2, 2, 2, 3))
    assert 1 <= len(traced) <= 2
    before = len(traced)
    again = loop(rng.stream(key, "other"), normal(2, 2, 2, 3))
    assert len(traced) == before
    assert loop._cache_size() == 1
    assert (np.asarray(first) != again).all()
    eager = ddim(timely, visits, key, normal(2, 2, 2, 3), eta=1.0)
    np.testing.assert_allclose(first, eager, rtol=1e-4, atol=1e-5)
