"""The search of tests/linear_search.py, run once for all tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_search import BITS, BRIEF, DIM, SIGMA, energy, images_of

from latentfp import rng
from latentfp.attribution.reference import attribute_images
from latentfp.choices import Coding
from latentfp.fingerprint.basis import Basis, split
from latentfp.generators import linear


@pytest.fixture(scope="session")
def root():
    return rng.root(7)


@pytest.fixture(scope="session")
def generator():
    return linear.make(latent_dim=DIM)


@pytest.fixture(scope="session")
def params(root):
    return linear.init(root, latent_dim=DIM)


@pytest.fixture(scope="session")
def space(params):
    return split(Basis(jnp.zeros(DIM), jnp.eye(DIM), params["scale"]), shift=DIM - BITS, bits=BITS)


@pytest.fixture(scope="session")
def truth(root, space):
    """Contents within two standard deviations, where no penalty acts, and codes of six images."""
    keys = jax.random.split(rng.stream(root, "content"), 6)
    alpha = space.content_stds[None] * jax.vmap(lambda key: jax.random.normal(key, (DIM - BITS,)))(keys)
    codes = np.random.default_rng(8).random((6, BITS)) < 0.5
    limit = 2 * space.content_stds[None]
    return jnp.clip(alpha, -limit, limit), codes


@pytest.fixture(scope="session")
def search(root, generator, params, space):
    options = {"key": root, "sigma": SIGMA, "coding": Coding.ANTIPODAL, "distance": energy, "settings": BRIEF}

    def run(images, **changes):
        return attribute_images(generator, params, space, images, **{**options, **changes})

    return run


@pytest.fixture(scope="session")
def images(generator, params, space, truth):
    return images_of(generator, params, space, truth, Coding.ANTIPODAL)


@pytest.fixture(scope="session")
def found(search, images):
    return search(images)
