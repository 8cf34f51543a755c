"""Tests against PyTorch packages: collected where these are installed, as launch/parity.sh does."""

from importlib.util import find_spec

import pytest

NEEDED = ("torch", "diffusers", "transformers")
collect_ignore_glob = [] if all(find_spec(name) for name in NEEDED) else ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """The same sums whatever the number of cores."""
    import torch

    torch.set_num_threads(1)
