"""A deployment of a linear generator with a decoder that nobody trained."""

from pathlib import Path

import pytest
from linear_space import write_deployment
from small_decoder import write_decoder

from latentfp.deployment import decoders
from latentfp.deployment.deployment import open_deployment


@pytest.fixture(scope="session")
def deployment(tmp_path_factory) -> Path:
    """Its images are 16 × 16, its codes have 32 bits."""
    folder = tmp_path_factory.mktemp("bench")
    path = write_deployment(folder, size=16)
    opened = open_deployment(path)
    decoders.adopt(opened, write_decoder(folder / "decoder", opened))
    return path
