import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stylegan2_oracle as oracle

from latentfp.generators.stylegan2 import ops

SIZES = [(2, 2, 2, 3), (2, 4, 6, 3)]


def normal(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def assert_equal(function, expected, *arrays):
    """Equal within the rounding errors of one output: at most 16 filter taps and 9 products a channel.

    Each of n operations adds an error of at most 2⁻²⁴ times the sum of absolute values, which is the oracle
    of absolute values, for all filter taps are positive.
    """
    operations = 16 + 9 * arrays[0].shape[-1] + 4
    bound = operations * 2.0**-24 * expected(*(np.abs(x) for x in arrays))
    error = np.abs(oracle.wide(jax.jit(function)(*arrays)) - expected(*arrays))
    assert error.shape == bound.shape
    assert (error <= bound).all(), f"{error.max()} exceeds {bound.max()}"


@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (2, 3, 5, 3)])
def test_upsample_inserts_zeros_and_filters(shape):
    assert_equal(ops.upsample, oracle.upsample, normal(*shape))


@pytest.mark.parametrize("taps", [1, 3])
def test_conv_correlates(taps):
    assert_equal(ops.conv, oracle.conv, normal(2, 4, 5, 3), normal(taps, taps, 3, 2))


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 3, 5, 3)])
def test_conv_up_scatters_and_filters(shape):
    assert_equal(ops.conv_up, oracle.conv_up, normal(*shape), normal(3, 3, 3, 2))


@pytest.mark.parametrize("taps", [1, 3])
@pytest.mark.parametrize("shape", SIZES)
def test_conv_down_filters_and_strides(shape, taps):
    assert_equal(ops.conv_down, oracle.conv_down, normal(*shape), normal(taps, taps, 3, 2))


def test_resampling_keeps_a_constant_away_from_the_border():
    flat = jnp.ones((1, 6, 6, 1))
    np.testing.assert_array_equal(ops.upsample(flat)[:, 2:-2, 2:-2], 1)  # sums of eighths: exact


def test_interleave_and_overlap_add_by_their_definition():
    np.testing.assert_array_equal(ops.interleave(jnp.arange(3), jnp.arange(10, 13), 0), [0, 10, 1, 11, 2, 12])
    taps = normal(4, 3)
    expected = np.zeros(9, np.float32)
    for i, tap in np.ndindex(4, 3):
        expected[2 * i + tap] += taps[i, tap]
    np.testing.assert_array_equal(ops.overlap_add(jnp.asarray(taps), 0, 1), expected)
