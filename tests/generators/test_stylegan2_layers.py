from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stylegan2_oracle as oracle
from tolerances import SAME_PROGRAM, Tolerance

from latentfp.generators.stylegan2 import layers, networks, ops
from latentfp.generators.stylegan2.networks import minibatch_deviation

# Sums of up to 27 products of numbers of order one, some of them divided by their norm: 40 operations that
# err by 2⁻²⁴, with the signs of chance √40 · 2⁻²⁴ = 4e-7; five of these deviations.
ROUNDING = Tolerance(rtol=0, atol=2e-6)


def normal(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def run(module, params, *inputs):
    return jax.jit(lambda *args: layers.apply(module, *args))(params, *inputs)


@pytest.mark.parametrize("multiplier", [1.0, 0.01])
def test_dense_is_scaled_when_used(multiplier):
    module, x = layers.EqualDense(3, lr_multiplier=multiplier), normal(2, 5)
    params = oracle.random_params(module, x)
    expected = oracle.dense(params, x, multiplier)
    np.testing.assert_allclose(run(module, params, x), expected, **ROUNDING)


def test_weights_start_with_unit_variance_and_biases_as_asked(key):
    module = layers.EqualDense(200, bias_init=0.5, lr_multiplier=0.01)
    params: Any = module.init(key, jnp.zeros((1, 200)))["params"]
    # the deviation of 40 000 normal numbers errs by 1/√80 000 = 0.35 %; five of these
    np.testing.assert_allclose(np.std(params["kernel"]), 100, rtol=0.018)
    np.testing.assert_allclose(0.01 * params["bias"], 0.5, rtol=1e-6)


def test_a_style_starts_at_one_and_the_rest_at_zero(key):
    module = layers.ModulatedConv(3, 3)
    params = module.init(key, jnp.zeros((1, 4, 4, 2)), jnp.zeros((1, 5)))["params"]
    np.testing.assert_array_equal(params["affine"]["bias"], 1)
    bias = layers.EqualConv(3, 1).init(key, jnp.zeros((1, 4, 4, 2)))["params"]["bias"]
    np.testing.assert_array_equal(bias, 0)


def test_leaky_keeps_the_variance_and_clips():
    x = normal(1000)
    clipped = layers.leaky(jnp.asarray(x), 0.7, 0.5)
    np.testing.assert_allclose(clipped, oracle.leaky(x, 0.7, 0.5), **SAME_PROGRAM)
    assert np.abs(clipped).max() == pytest.approx(0.35)
    np.testing.assert_allclose(layers.leaky(jnp.asarray(x)), oracle.leaky(x), **SAME_PROGRAM)


@pytest.mark.parametrize("how", ["conv", "conv_up", "conv_down"])
@pytest.mark.parametrize("demodulate", [True, False])
def test_modulating_features_is_modulating_weights(how, demodulate):
    module = layers.ModulatedConv(4, 3, demodulate, getattr(ops, how))
    x, w = normal(2, 4, 4, 3), normal(2, 5)
    params = oracle.random_params(module, x, w)
    expected = oracle.modulated(params, x, w, getattr(oracle, how), demodulate=demodulate)
    np.testing.assert_allclose(run(module, params, x, w), expected, **ROUNDING)


def test_demodulation_forgets_the_size_of_the_style():
    module, x, w = layers.ModulatedConv(4, 1), normal(2, 4, 4, 3), normal(2, 5)
    params = oracle.random_params(module, x, w)
    larger = {**params, "affine": jax.tree.map(lambda leaf: 7 * leaf, params["affine"])}
    np.testing.assert_allclose(run(module, larger, x, w), run(module, params, x, w), **ROUNDING)


@pytest.mark.parametrize(("batch", "group"), [(8, 4), (6, 3), (3, 4), (4, 1), (1, 4)])
def test_minibatch_deviation_by_definition(batch, group):
    x = 3 * normal(batch, 2, 3, 2)
    expected = oracle.minibatch_deviation(x, group)
    np.testing.assert_allclose(minibatch_deviation(jnp.asarray(x), group), expected, **ROUNDING)


def test_a_batch_that_groups_do_not_divide_is_refused():
    with pytest.raises(
        ValueError, match="a batch of 6 cannot be split into groups of 4: use a multiple of 4"
    ):
        minibatch_deviation(jnp.zeros((6, 2, 2, 1)))


def test_mapping_network():
    module, z = networks.Mapping(6, 3), 5 * normal(4, 6)
    params = oracle.random_params(module, z)
    params = jax.tree.map(
        lambda leaf: 100 * leaf, params
    )  # as at the start: 1 / the learning-rate multiplier
    expected = oracle.mapping(params, z)
    np.testing.assert_allclose(run(module, params, z), expected, rtol=0, atol=3e-6)


def test_normalize_forgets_the_length():
    z = jnp.asarray(normal(3, 8))
    np.testing.assert_allclose(networks.normalize(1000 * z), networks.normalize(z), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(np.mean(np.square(networks.normalize(z)), axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(networks.normalize(jnp.zeros((1, 8))), 0)


def test_broadcast_repeats_and_mix_crosses_over():
    coarse, fine = normal(4, 3, seed=1), normal(4, 3, seed=2)
    repeated = [networks.broadcast(jnp.asarray(w), 5) for w in (coarse, fine)]
    assert repeated[0].shape == (4, 5, 3)
    crossover = jnp.array([0, 1, 3, 5])
    mixed = networks.mix(repeated[0], repeated[1], crossover)
    for image, layer in np.ndindex(4, 5):
        source = coarse if layer < crossover[image] else fine
        np.testing.assert_array_equal(mixed[image, layer], source[image])
