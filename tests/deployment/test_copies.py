"""A user's copy as a command."""

import numpy as np
import pytest
from linear_space import write_deployment

from latentfp.data.files import read_image
from latentfp.deployment import copies
from latentfp.deployment.deployment import load_generator, open_deployment
from latentfp.deployment.registry import Status


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    return write_deployment(tmp_path_factory.mktemp("copies"))


def generate(deployment, out, **changed):
    request = {"user": "alice", "count": 3, "seed": 7, "suffix": "png", **changed}
    return copies.generate(deployment, out=out, **request)


def test_files_bear_the_users_code(deployment, tmp_path):
    paths = generate(deployment, tmp_path / "a/b")
    names = ["alice-7-0000.png", "alice-7-0001.png", "alice-7-0002.png"]
    assert [path.name for path in paths] == names
    opened = open_deployment(deployment)
    loaded = load_generator(opened)
    images = np.stack([read_image(path, size=(8, 8)) for path in paths]) / 127.5 - 1
    matrix, offset = (np.asarray(loaded.params[name], np.float64) for name in ("matrix", "offset"))
    w = (images.reshape(3, -1) - offset) @ matrix / 0.5
    marks = (w - np.asarray(opened.space.mean)) @ np.asarray(opened.space.code_axes, np.float64).T
    assert ((marks > 0) == opened.registry.users()[0].code).all()


def test_groups_and_counts_continue_one_stream(deployment, tmp_path, monkeypatch):
    whole = generate(deployment, tmp_path / "whole", count=5)
    monkeypatch.setattr(copies, "GROUP", 2)
    parts = generate(deployment, tmp_path / "parts", count=5)
    assert [path.read_bytes() for path in whole] == [path.read_bytes() for path in parts]
    assert len({path.read_bytes() for path in whole}) == 5


def test_users_and_seeds_have_their_own_images(deployment, tmp_path):
    requests = ({}, {"user": "bob"}, {"seed": 8})
    made = [generate(deployment, tmp_path, count=1, **changed)[0] for changed in requests]
    assert len({path.read_bytes() for path in made}) == 3


def test_nothing_is_overwritten(deployment, tmp_path):
    (tmp_path / "alice-7-0001.png").write_text("mine")
    with pytest.raises(ValueError, match=r"alice-7-0001\.png exists"):
        generate(deployment, tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_stranger_has_no_copy(deployment, tmp_path):
    with pytest.raises(ValueError, match="no user 'eve'"):
        generate(deployment, tmp_path, user="eve")


def test_a_revoked_user_has_no_copy(deployment, tmp_path):
    registry = open_deployment(deployment).registry
    registry.add(["mallory"], seed=1)
    registry.set_status("mallory", Status.REVOKED, note="left")
    with pytest.raises(ValueError, match=r"mallory.* is revoked"):
        generate(deployment, tmp_path, user="mallory")
    assert list(tmp_path.iterdir()) == []
