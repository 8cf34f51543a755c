"""Whitened coordinates and mean curvature against what a linear generator has exactly, in float64."""

import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import BITS, D, jacobian, linear_space

from latentfp import rng
from latentfp.attribution.whitening import latents, mean_curvature, render, whiten
from latentfp.choices import Coding
from latentfp.fingerprint.embed import compose, levels

PROBES = 512


@pytest.mark.parametrize("coding", Coding)
def test_coordinates_are_content_in_deviations_and_twice_the_level(key, coding):
    _, _, space = linear_space(key)
    white = whiten(space, sigma=0.7, coding=coding)
    random = np.random.default_rng(1)
    content, code = random.normal(size=D - BITS).astype(np.float32), random.random(BITS) < 0.5
    theta = jnp.concatenate([content / space.content_stds, jnp.where(code, 1.0, -1.0)])
    expected = compose(space, jnp.asarray(content), levels(code, coding), sigma=0.7)
    # two float32 sums of 24 numbers below 3
    np.testing.assert_allclose(latents(white, theta[None])[0], expected, atol=1e-5)


def test_curvature_is_that_of_the_generator_within_monte_carlo_error(key):
    generator, params, space = linear_space(key)
    white = whiten(space, sigma=0.7, coding=Coding.ANTIPODAL)
    found = mean_curvature(generator, params, white, rng.stream(key, "probes"), batch=16, probes=PROBES)
    values, vectors, rest = (np.asarray(x, np.float64) for x in found)
    assert rest == 0
    j = jacobian(params, white)
    expected = j.T @ j
    # Signs v: Var[(a·v)(b·v)] = |a|²|b|² + (a·b)² - 2 Σ a²b², for every pair of columns a, b of J
    squares = (j**2).T @ j**2
    power = np.diag(expected)
    deviation = np.sqrt((np.outer(power, power) + expected**2 - 2 * squares) / PROBES)
    error = np.abs(vectors @ np.diag(values) @ vectors.T - expected)
    # 6 deviations; 1e-5: the diagonal, which has none, in float32
    assert (error < 6 * deviation + 1e-5).all()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(D), atol=1e-6)


def test_probes_are_rounded_up_to_whole_batches(key):
    generator, params, space = linear_space(key)
    white = whiten(space, sigma=0.7, coding=Coding.ANTIPODAL)
    some, more = (mean_curvature(generator, params, white, key, batch=16, probes=n) for n in (17, 32))
    np.testing.assert_array_equal(some.eigenvalues, more.eigenvalues)


def test_limited_pixels_carry_no_curvature(key):
    generator, params, space = linear_space(key)
    bright = params | {"offset": params["offset"] + 10}
    white = whiten(space, sigma=0.7, coding=Coding.BINARY)
    assert (render(generator, bright, white, jnp.zeros((2, D))) == 1).all()
    found = mean_curvature(generator, bright, white, rng.stream(key, "probes"), batch=16, probes=16)
    np.testing.assert_array_equal(found.eigenvalues, 0)
