"""Tests against PyTorch packages: collected where these are installed, as launch/parity.sh does."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

NEEDED = ("torch", "diffusers", "transformers")
collect_ignore_glob = [] if all(find_spec(name) for name in NEEDED) else ["test_*.py"]
sys.path.append(str(Path(__file__).parents[2] / "docs" / "examples"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """The same sums whatever the number of cores."""
    import torch

    torch.set_num_threads(1)
