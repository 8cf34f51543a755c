"""Layers of the first stage and the denoiser against the oracle, with random numbers in every slot."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import latent_diffusion_oracle as oracle
import numpy as np
import pytest
from stylegan2_oracle import wide
from tolerances import Tolerance

from latentfp.generators.latent_diffusion import layers, unet

# Sums of up to 9 · 8 products of numbers of order one, through two norms and a residual: 150 operations that
# err by 2⁻²⁴, with the signs of chance √150 · 2⁻²⁴ = 7e-7, of numbers up to ten; twice that.
ROUNDING = Tolerance(rtol=1e-6, atol=1.5e-5)


def normal(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def run(module, params, *inputs):
    return jax.jit(lambda params, *inputs: module.apply({"params": params}, *inputs))(params, *inputs)


def assert_layer(module, expected, *inputs):
    """`expected(params, *inputs)` is the oracle's."""
    params = oracle.fan_scaled(module, *inputs)
    actual, wanted = run(module, params, *inputs), expected(params, *inputs)
    assert actual.shape == wanted.shape
    np.testing.assert_allclose(actual, wanted, **ROUNDING)


@pytest.mark.parametrize(("groups", "channels"), [(1, 6), (2, 6), (6, 6), (4, 8)])
@pytest.mark.parametrize("epsilon", [1e-6, 0.3])
def test_norm(groups, channels, epsilon):
    x = 3 * normal(2, 3, 4, channels) + normal(channels)
    assert_layer(layers.Norm(groups, epsilon), lambda p, x: oracle.norm(p, x, groups, epsilon), x)


@pytest.mark.parametrize("epsilon", [1e-5, 1e-6])
def test_epsilon_is_added_to_the_variance(epsilon):
    """Where the variance itself is 1e-6."""
    x = 1e-3 * normal(1, 4, 4, 4)
    assert_layer(layers.Norm(2, epsilon), lambda p, x: oracle.norm(p, x, 2, epsilon), x)


def test_a_norm_of_equal_numbers_is_its_bias():
    x = jnp.full((1, 2, 2, 4), 7.0)
    module = layers.Norm(2, 1e-6)
    params: Any = oracle.fan_scaled(module, x)
    np.testing.assert_array_equal(run(module, params, x), np.broadcast_to(params["bias"], x.shape))


def test_a_norm_starts_as_the_identity_of_white_numbers(key):
    params = layers.Norm(2, 1e-6).init(key, jnp.zeros((1, 2, 2, 4)))["params"]
    np.testing.assert_array_equal(params["scale"], 1)
    np.testing.assert_array_equal(params["bias"], 0)


@pytest.mark.parametrize(("groups", "channels"), [(4, 6), (32, 16), (3, 4)])
def test_groups_that_do_not_divide_are_refused(groups, channels):
    message = f"{channels} channels cannot be split into {groups} groups: change one of them"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(layers.Norm(groups, 1e-6).init, jax.random.key(0), jnp.zeros((1, 2, 2, channels)))


@pytest.mark.parametrize("width", [4, 6])
@pytest.mark.parametrize("timed", [True, False])
def test_residual_block(width, timed):
    """With and without a skip of its own, with and without a time."""
    x, time = normal(2, 4, 3, 4), (normal(2, 5),) if timed else ()
    module = layers.ResidualBlock(width, 2, 1e-6)
    params = oracle.fan_scaled(module, x, *time)
    assert ("skip" in params, "time" in params) == (width != 4, timed)
    assert_layer(module, lambda p, *inputs: oracle.residual(p, inputs[0], 2, 1e-6, *inputs[1:]), x, *time)


def test_a_block_hands_its_epsilon_to_both_norms():
    x = 1e-3 * normal(1, 4, 4, 4)
    for epsilon in (1e-5, 1e-6):
        assert_layer(
            layers.ResidualBlock(4, 2, epsilon), lambda p, x, e=epsilon: oracle.residual(p, x, 2, e), x
        )


@pytest.mark.parametrize(("heads", "groups"), [(1, 1), (1, 4), (2, 2), (4, 2), (8, 1)])
def test_attention(heads, groups):
    x = normal(2, 3, 4, 8)
    module = layers.SelfAttention(heads, groups, 1e-6)
    assert_layer(module, lambda p, x: oracle.attention(p, x, heads, groups, 1e-6), x)


def test_attention_does_not_know_where_a_pixel_is():
    x, order = normal(1, 3, 4, 8), np.random.default_rng(1).permutation(12)
    module = layers.SelfAttention(2, 2, 1e-6)
    params = oracle.fan_scaled(module, x)

    def moved(x):
        return np.asarray(x).reshape(1, 12, 8)[:, order].reshape(x.shape)

    np.testing.assert_allclose(run(module, params, moved(x)), moved(run(module, params, x)), **ROUNDING)


@pytest.mark.parametrize("heads", [3, 16])
def test_heads_that_do_not_divide_are_refused(heads):
    module = layers.SelfAttention(heads, 2, 1e-6)
    message = f"8 channels cannot be split into {heads} heads: change one of them"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 2, 2, 8)))


@pytest.mark.parametrize("pad", [(0, 1), (1, 1)])
@pytest.mark.parametrize(("height", "width"), [(4, 6), (2, 2), (8, 4)])
def test_halve(pad, height, width):
    x = normal(2, height, width, 3)
    assert_layer(layers.Halve(pad), lambda p, x: oracle.halve(p, x, pad), x)
    assert run(layers.Halve(pad), oracle.fan_scaled(layers.Halve(pad), x), x).shape[1:3] == (
        height // 2,
        width // 2,
    )


@pytest.mark.parametrize(("pad", "first"), [((0, 1), 0), ((1, 1), -1)])
def test_where_a_half_looks(pad, first):
    """The corner of the result sees the input from row and column `first` on."""
    x = normal(1, 4, 4, 1)
    params = {"conv": {"kernel": np.ones((3, 3, 1, 1), np.float32), "bias": np.zeros(1, np.float32)}}
    seen = slice(max(first, 0), first + 3)
    actual = run(layers.Halve(pad), params, x)[0, 0, 0, 0]
    np.testing.assert_allclose(actual, x[0, seen, seen, 0].sum(), **ROUNDING)


def test_double():
    assert_layer(layers.Double(), oracle.double, normal(2, 3, 2, 4))


@pytest.mark.parametrize("size", [2, 8, 32])
def test_sinusoids(size):
    times = [0.0, 1.0, 7.0, 500.0, 999.0]
    actual = unet.sinusoids(jnp.array(times), size)
    # angles up to 999 err by 2⁻²⁴ of themselves twice, and so do their cosines
    np.testing.assert_allclose(actual, oracle.sinusoids(times, size), rtol=0, atol=2 * 999 * 2**-24 + 1e-6)
    np.testing.assert_array_equal(actual[0], [1.0] * (size // 2) + [0.0] * (size // 2))


def test_the_fastest_sinusoid_turns_once_in_two_pi():
    cosine, *_, sine, _ = unet.sinusoids(jnp.array([1.0]), 4)[0]
    np.testing.assert_allclose([cosine, sine], [math.cos(1), math.sin(1)], rtol=1e-6)


@pytest.mark.parametrize("size", [4, 6])
def test_time_embedding(size):
    times = np.array([0.0, 3.0, 42.0], np.float32)
    module = unet.TimeEmbedding(size)
    params = oracle.fan_scaled(module, times)
    assert wide(params["fc1"]["bias"]).shape == (4 * size,)
    assert_layer(module, lambda p, times: oracle.time_embedding(p, times, size), times)
