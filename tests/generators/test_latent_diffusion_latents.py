"""What lies between encoder and decoder: the normal posterior, and the code book."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import latent_diffusion_oracle as oracle
import numpy as np
import pytest
from scipy import integrate, stats
from stylegan2_oracle import wide
from tolerances import SAME_PROGRAM

from latentfp.generators.latent_diffusion.first_stage import (
    FirstStage,
    Posterior,
    codebook_loss,
    divergence,
    draw,
    nearest,
    posterior,
    quantise,
)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng((seed, *shape)).normal(size=shape), jnp.float32)


def test_moments_are_mean_and_then_log_variance():
    moments = normal(2, 3, 4, 6)
    found = posterior(moments)
    np.testing.assert_array_equal(found.mean, moments[..., :3])
    np.testing.assert_array_equal(found.log_variance, moments[..., 3:])


def test_log_variances_are_limited_and_means_are_not():
    moments = jnp.array([-99.0, 99.0, -30.5, 20.5, -29.5, 19.5])
    moments = jnp.concatenate([moments, moments])[None, None, None]
    found = posterior(moments)
    np.testing.assert_array_equal(found.mean, moments[..., :6])
    np.testing.assert_array_equal(found.log_variance[0, 0, 0], [-30, 20, -30, 20, -29.5, 19.5])


def test_a_drawn_latent_has_the_deviation_that_was_said():
    variance = np.array([1e-6, 0.25, 1.0, 9.0])
    shape = (1, 100, 100, 4)
    mean, noise = normal(*shape), normal(*shape, seed=1)
    log_variance = jnp.broadcast_to(jnp.log(jnp.asarray(variance, jnp.float32)), shape)
    drawn = draw(Posterior(mean, log_variance), noise)
    expected = wide(mean) + np.sqrt(variance) * wide(noise)
    np.testing.assert_allclose(drawn, expected, **SAME_PROGRAM)
    # the deviation of 10 000 numbers errs by 0.7 %; five of these. float32 adds 2⁻²⁴ to the first
    np.testing.assert_allclose(np.std(drawn - mean, axis=(0, 1, 2)), np.sqrt(variance), rtol=0.036)


def test_divergence_is_the_integral():
    mean, log_variance = normal(2, 1, 2, 2), normal(2, 1, 2, 2, seed=1)
    prior: Any = stats.norm()

    def one(m, v):
        own: Any = stats.norm(m, np.exp(v / 2))
        return integrate.quad(lambda x: own.pdf(x) * (own.logpdf(x) - prior.logpdf(x)), -15, 15)[0]

    each = np.vectorize(one)(wide(mean), wide(log_variance))
    np.testing.assert_allclose(divergence(Posterior(mean, log_variance)), each.sum((1, 2, 3)), rtol=1e-5)


def test_only_the_prior_has_no_divergence():
    zero, one = jnp.zeros((1, 2, 2, 2)), jnp.ones((1, 2, 2, 2))
    np.testing.assert_array_equal(divergence(Posterior(zero, zero)), 0)
    assert divergence(Posterior(one, zero))[0] == pytest.approx(8 / 2)
    assert divergence(Posterior(zero, one))[0] == pytest.approx(8 * (np.e - 2) / 2)
    assert divergence(Posterior(zero, -one))[0] == pytest.approx(8 / np.e / 2)


@pytest.mark.parametrize(("codes", "channels"), [(1, 2), (5, 1), (16, 3)])
def test_nearest(codes, channels):
    z, codebook = normal(3, 4, 2, channels), normal(codes, channels)
    numbers = nearest(z, codebook)
    np.testing.assert_array_equal(numbers, oracle.nearest(wide(z), wide(codebook)))
    expected = wide(codebook)[np.asarray(numbers)]
    np.testing.assert_allclose(quantise(z, codebook), expected, rtol=0, atol=1e-6)


def test_a_long_code_is_not_the_nearest_for_its_length():
    codebook = jnp.array([[100.0, 0.0], [1.0, 0.0], [0.0, -1.0]])
    z = jnp.array([[[[2.0, 0.0], [60.0, 0.0], [0.1, -3.0]]]])
    np.testing.assert_array_equal(nearest(z, codebook), [[[1, 0, 2]]])


def test_the_gradient_goes_straight_through():
    """To the latents as it is, and to the code book not at all."""
    z, codebook, cotangent = normal(2, 3, 4, 2), normal(5, 2), normal(2, 3, 4, 2, seed=1)
    _, pull = jax.vjp(quantise, z, codebook)
    at_z, at_codebook = pull(cotangent)
    np.testing.assert_array_equal(at_z, cotangent)
    np.testing.assert_array_equal(at_codebook, 0)


@pytest.mark.parametrize("commitment", [0.25, 0.0, 2.0])
def test_codebook_loss_and_what_it_moves(commitment):
    """Latents by `commitment`, codes by one; a code that is nobody's nearest stays."""
    z, codebook = normal(2, 3, 4, 2), jnp.concatenate([normal(5, 2), jnp.full((1, 2), 50.0)])
    gap = wide(z) - wide(codebook)[oracle.nearest(wide(z), wide(codebook))]
    options = {} if commitment == 0.25 else {"commitment": commitment}  # a quarter by default

    def loss(z, codebook):
        return codebook_loss(z, codebook, **options)

    value, (at_z, at_codebook) = jax.value_and_grad(loss, argnums=(0, 1))(z, codebook)
    np.testing.assert_allclose(value, (1 + commitment) * np.mean(gap**2), rtol=1e-6)
    np.testing.assert_allclose(at_z, commitment * 2 * gap / gap.size, **SAME_PROGRAM)
    expected = np.zeros((6, 2))
    numbers = oracle.nearest(wide(z), wide(codebook))
    for place in np.ndindex(*numbers.shape):
        expected[numbers[place]] -= 2 * gap[place] / gap.size
    np.testing.assert_allclose(at_codebook, expected, **SAME_PROGRAM)
    assert (expected[5] == 0).all()


def test_the_decoder_hands_its_gradient_to_the_latents_of_codes():
    """Through the codes as if they were the latents; the code book gets none from the images."""
    fields = {"channels": (4,), "blocks": 1, "latent": 2, "codes": 3, "groups": 2}
    stage, z = FirstStage(**fields), normal(1, 2, 2, 2)
    params = oracle.fan_scaled(stage, normal(1, 2, 2, 3))

    def total(params, z, *, quantised=True):
        images: Any = stage.apply({"params": params}, z, quantised=quantised, method=stage.decode)
        return jnp.sum(images**2)

    def gradients(params, z):
        plainly = jax.grad(partial(total, quantised=False), argnums=1)
        return *jax.grad(total, argnums=(0, 1))(params, z), plainly(params, quantise(z, params["codebook"]))

    at_params, at_z, expected = jax.jit(gradients)(params, z)
    np.testing.assert_allclose(at_z, expected, rtol=1e-4)
    np.testing.assert_array_equal(at_params["codebook"], 0)
    assert np.abs(at_z).max() > 0.01
