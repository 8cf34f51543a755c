"""The bench of large latents, on a linear generator whose posterior is known."""

import json

import jax.numpy as jnp
import numpy as np

from latentfp import rng
from latentfp.attribution.whitening import latents, whiten
from latentfp.bench import large_latents
from latentfp.choices import Coding
from latentfp.fingerprint.basis import Basis, split


def test_descents_read_what_the_exact_posterior_says(tmp_path):
    fields = {"latent": 5000, "size": 16}
    large_latents.run(kind="linear", fields=fields, probes=32, steps=12, seed=0, workdir=tmp_path)
    found = json.loads((tmp_path / "large_latents.json").read_text())
    assert found["latent"] == 5000
    assert found["bits"] == {"read": 64, "exact": 64, "agree": 64}, "seeds 1 and 2 read as many"
    assert found["undamaged"]["steps"] == 12
    assert found["peak_mib"] > 0


def test_the_exact_mean_is_that_of_the_normal_equations():
    """(AᵀA / e² + I) theta = Aᵀ (x - b) / e², where A is small enough to be written down."""
    d, held = 40, 12
    axes = jnp.linalg.qr(jnp.asarray(np.random.default_rng(1).normal(size=(d, d)), jnp.float32))[0][:held]
    basis = Basis(jnp.zeros(d), axes, jnp.linspace(2.0, 0.5, held), jnp.asarray(0.3))
    space = whiten(split(basis, shift=8, bits=4), sigma=2.0, coding=Coding.ANTIPODAL)
    generator, params = large_latents.linear(rng.root(3), latent=d, size=4)
    theta = np.random.default_rng(2).normal(size=(2, space.size)).astype(np.float32)
    images = np.asarray(generator.synthesize(params, latents(space, jnp.asarray(theta))))
    found = large_latents.posterior_mean(params, space, images)
    origin = generator.synthesize(params, latents(space, jnp.zeros((1, space.size))))
    one_by_one = generator.synthesize(params, latents(space, jnp.eye(space.size)))
    a = np.asarray(one_by_one - origin, np.float64).reshape(space.size, -1).T
    right = a.T @ (images - np.asarray(origin)).reshape(2, -1).T / large_latents.ROUNDING**2
    expected = np.linalg.solve(a.T @ a / large_latents.ROUNDING**2 + np.eye(space.size), right).T
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_a_first_stage_is_measured_too(tmp_path):
    fields = {"size": 32, "channels": (32, 32), "blocks": 1, "latent": 3}
    large_latents.run(kind="first_stage", fields=fields, probes=2, steps=1, seed=0, workdir=tmp_path)
    found = json.loads((tmp_path / "large_latents.json").read_text())
    assert found["latent"] == 16 * 16 * 3
    assert "bits" not in found
    assert found["damaged"]["step"] > 0
