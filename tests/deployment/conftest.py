"""A small deployment of the linear generator, made anew for every test."""

import numpy as np
import pytest
from linear_space import add_drawn

from latentfp.choices import Coding
from latentfp.deployment import deployment as deployments
from latentfp.deployment.manifest import GeneratorFacts
from latentfp.fingerprint.basis import fit_basis

D = 24


@pytest.fixture(scope="session")
def settings():
    """What `create` takes besides a path."""
    samples = np.random.default_rng(4).normal(size=(100, D)) * np.linspace(2, 0.1, D)
    return {
        "generator": GeneratorFacts("linear", "ab" * 32),
        "basis": fit_basis(samples),
        "sigma": 0.5,
        "shift": 4,
        "bits": 16,
        "coding": Coding.ANTIPODAL,
        "min_distance": 4,
    }


@pytest.fixture
def folder(tmp_path, settings):
    """The folder of a deployment with two users."""
    path = tmp_path / "deployment"
    add_drawn(deployments.create(path, **settings).registry, ["alice", "bob"], seed=1)
    return path
