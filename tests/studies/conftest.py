"""A deployment of a linear generator with a decoder that nobody trained."""

from pathlib import Path

import pytest
from linear_space import write_deployment
from small_decoder import deployment_with_decoder

from latentfp.augment import suites


@pytest.fixture(scope="session")
def deployment(tmp_path_factory) -> Path:
    """Its images are 16 × 16, its codes have 32 bits."""
    return deployment_with_decoder(tmp_path_factory.mktemp("studies"))


@pytest.fixture(scope="session")
def bare_deployment(tmp_path_factory) -> Path:
    """Without a decoder; images of 8 × 8."""
    return write_deployment(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="session", autouse=True)
def tiny_suite():
    """Two attacks, as a suite."""
    suites.SUITES["tiny"] = suites.SUITES["nie2023"][:2]
    yield
    del suites.SUITES["tiny"]
