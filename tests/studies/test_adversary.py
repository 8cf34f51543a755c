"""An adversary of the decoder, on a linear generator with a decoder that nobody trained."""

import json

import numpy as np
import pytest

from latentfp.studies import adversary
from latentfp.studies.adversary import Plan

PLAN = {"images": 3, "radii": (2.0, 6.0), "steps": 15, "users": 10, "alpha": 1e-2}


@pytest.fixture(scope="module")
def measured(deployment, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("adversary")
    return workdir, adversary.run(deployment=str(deployment), plan=PLAN, seed=4, workdir=workdir)


@pytest.mark.slow
def test_changes_keep_to_their_radius(measured):
    rows = measured[1]["rows"]
    assert [(row["aim"], row["radius"]) for row in rows] == [
        ("erase", 2.0),
        ("erase", 6.0),
        ("forge", 2.0),
        ("forge", 6.0),
    ]
    for row in rows:
        assert 0 < row["largest_change"] <= row["radius"]


@pytest.mark.parametrize(("radius", "reached"), [(0.2, False), (4.0, True)])
def test_files_are_moved_until_the_reader_reads_the_target(radius, reached):
    """A linear reader of 48 values: 4 levels suffice for its 4 bits, a fifth of one does not."""
    mixing = np.random.default_rng(1).normal(size=(48, 4)).astype(np.float32)

    def logits(images):
        return images.reshape(len(images), -1) @ mixing

    files = np.full((3, 4, 4, 3), 128, np.uint8)
    target = np.array([[0, 0, 1, 1], [1, 0, 1, 0], [1, 1, 0, 0]], bool)
    plan = Plan(images=3, radii=(radius,), steps=60, users=10, alpha=1e-2)
    moved = adversary._moved(logits, files, target, radius, plan, 0)
    read = np.asarray(logits(moved / 127.5 - 1)) > 0
    assert np.array_equal(read, target) == reached


@pytest.mark.slow
def test_nothing_is_measured_twice(measured, deployment, monkeypatch):
    workdir, result = measured
    monkeypatch.setattr(adversary, "answers", None)
    again = adversary.run(deployment=str(deployment), plan=PLAN, seed=4, workdir=workdir)
    assert json.dumps(again) == json.dumps(result)


def test_names_are_those_of_the_exact_chance():
    """64 sure bits: 9 wrong ones have a chance of 1.6e-9, which a thousand users make 1.6e-6."""
    codes = np.random.default_rng(0).integers(2, size=(2, 64)).astype(bool)
    read = codes.copy()
    read[0, :8] ^= True
    read[1, :9] ^= True
    soft = (24 * (2 * read.astype(int) - 1)).astype(np.int8)
    found = adversary._share(soft, codes, Plan(2, (), 1, 1000, 1e-6))
    assert found["named"] == 1
    assert found["bits"] == 1 - 17 / 128


def test_something_must_be_there_to_deceive(bare_deployment, tmp_path):
    with pytest.raises(ValueError, match="expected a decoder"):
        adversary.run(deployment=str(bare_deployment), plan=PLAN, seed=0, workdir=tmp_path)
