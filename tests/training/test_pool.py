"""A pool of latents: filled from the prior, renewed oldest first, chosen from evenly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp import rng
from latentfp.generators.generator import Generator
from latentfp.training import pool
from latentfp.training.pool import AT_ONCE, Pool

D = 3
NORMAL = Generator(
    "normal", D, (1, 1, 3), lambda _, key, n: 2 + jax.random.normal(key, (n, D)), lambda _, w: w
)
KEY = rng.root(4)


def test_it_holds_samples_of_the_prior():
    latents = pool.fill(Pool(1024), NORMAL, {}, KEY)
    assert latents.shape == (1024, D)
    assert len(np.unique(latents, axis=0)) == 1024
    assert abs(float(latents.mean()) - 2) < 5 / np.sqrt(latents.size)


def test_the_oldest_are_renewed_in_turn():
    plan = Pool(3 * AT_ONCE, every=12)
    latents = before = pool.fill(plan, NORMAL, {}, KEY)
    for turn in range(4):
        step = 12 * turn
        after = pool.renew(plan, NORMAL, {}, latents, rng.stream(KEY, "step", step), jnp.asarray(step))
        changed = np.flatnonzero((after != latents).any(axis=1))
        np.testing.assert_array_equal(changed, AT_ONCE * (turn % 3) + np.arange(AT_ONCE))
        latents = after
    assert (latents != before).all()


def test_examples_choose_evenly_from_it():
    latents = jnp.arange(4 * D, dtype=jnp.float32).reshape(4, D)
    keys = jax.vmap(lambda i: rng.stream(KEY, "example", i))(jnp.arange(4000))
    chosen = pool.draw(NORMAL, {}, latents, keys)
    numbers, counts = np.unique(np.asarray(chosen[:, 0]) / D, return_counts=True)
    np.testing.assert_array_equal(numbers, range(4))
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(4000 * 3 / 16)


def test_no_pool_is_the_prior_itself():
    keys = jax.vmap(lambda i: rng.stream(KEY, "example", i))(jnp.arange(5))
    drawn = pool.draw(NORMAL, {}, None, keys)
    expected = [NORMAL.sample({}, rng.stream(key, "latent"), 1)[0] for key in keys]
    np.testing.assert_allclose(drawn, expected, rtol=1e-6)


@pytest.mark.parametrize("plan", [Pool(100), Pool(-64), Pool(0), Pool(64, every=0)])
def test_other_sizes_are_refused(plan):
    with pytest.raises(ValueError, match="expected a size that 64 divides"):
        pool.fill(plan, NORMAL, {}, KEY)
