"""Inception features of files that PyTorch wrote, against PyTorch's own in float64."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from inception_torch import Block, Inception

from latentfp.pixels import to_float
from latentfp.quality.inception import inception_features, load

LAYERS, PRODUCTS = 48, 9 * 448  # one after the other, and in the largest of their sums
EPS = 2.0**-24
# Errors of a sum of n random products are √n eps of it; of layers one after the other they add up at worst.
TOLERANCE = LAYERS * PRODUCTS**0.5 * EPS


@pytest.fixture(scope="module")
def images():
    """Four images of coloured fields with noise, 8-bit, [n h w 3]."""
    draw = np.random.default_rng(0)
    coarse = draw.uniform(0, 255, (4, 5, 4, 3)).repeat(8, axis=1).repeat(9, axis=2)
    return np.clip(coarse + draw.normal(0, 30, coarse.shape), 0, 255).astype(np.uint8)


def as_torch(images):
    return torch.from_numpy(images / 255.0).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def network(images):
    """Random weights; the statistics of its normalisations are those of the images, as after training."""
    torch.manual_seed(0)
    made = Inception()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0.0, 0.5)
            module.momentum = None
    with torch.no_grad():
        made.train()(as_torch(images).float())
    return made.eval()


@pytest.fixture(scope="module")
def params(network, tmp_path_factory):
    """From PyTorch's older format, which has to give the same as its present one."""
    older, present = (tmp_path_factory.mktemp("inception") / name for name in ("older.pth", "present.pth"))
    torch.save(network.state_dict(), older, _use_new_zipfile_serialization=False)
    torch.save(network.state_dict(), present)
    loaded = load(older)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, loaded, load(present))))
    return loaded


def features(network, images, dtype=torch.float64):
    with torch.no_grad():
        return copy.deepcopy(network).to(dtype)(as_torch(images).to(dtype)).double().numpy()


def apart(a, b):
    """The largest error of an image's features, in units of their size."""
    return (np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max()


def test_features_are_those_of_pytorch(network, params, images, monkeypatch, capsys):
    embed = jax.jit(jax.vmap(inception_features, in_axes=(None, 0)))
    ours = np.asarray(embed(params, jnp.asarray(to_float(images))))
    exact = features(network, images)
    theirs = features(network, images, torch.float32)
    monkeypatch.setattr(Block, "count_outside", True)
    counting = features(network, images)
    monkeypatch.undo()
    monkeypatch.setattr(network.Mixed_7c, "largest", False)
    averaging = features(network, images)
    found = [f"{apart(x, exact):.1e}" for x in (ours, theirs, counting, averaging)]
    with capsys.disabled():
        print(f"\nfrom float64 PyTorch: ours {found[0]}, float32 PyTorch {found[1]}; ", end="")  # noqa: T201
        print(f"torchvision's averages {found[2]}, its last pool {found[3]}; allowed {TOLERANCE:.1e}")  # noqa: T201
    assert apart(ours, exact) < TOLERANCE
    assert min(apart(counting, exact), apart(averaging, exact)) > 10 * TOLERANCE, "the test can see both"
    assert (exact.std(axis=0) > 0).mean() > 0.9, "features depend on the image"
