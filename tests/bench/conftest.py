"""A deployment of a linear generator with a decoder that nobody trained."""

from pathlib import Path

import pytest
from small_decoder import deployment_with_decoder


@pytest.fixture(scope="session")
def deployment(tmp_path_factory) -> Path:
    """Its images are 16 × 16, its codes have 32 bits."""
    return deployment_with_decoder(tmp_path_factory.mktemp("bench"))
