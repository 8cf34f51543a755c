"""Mean curvature and encoder calibration are computed once, kept, and believed only where they belong."""

import json
import os

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from linear_space import write_deployment

from latentfp.deployment import constants
from latentfp.deployment.constants import subject_in
from latentfp.deployment.deployment import load_generator, open_deployment

FILES = {"curvature.safetensors", "encoder.safetensors"}


@pytest.fixture
def opened(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "PROBES", 32)
    monkeypatch.setenv("LATENTFP_CACHE", str(tmp_path / "cache"))
    return open_deployment(write_deployment(tmp_path))


@pytest.fixture
def computed(monkeypatch):
    """How often each was computed."""
    calls = []
    for module, name in ((constants, "mean_curvature"), (constants.encoder, "calibrate")):
        inner = getattr(module, name)

        def counted(*arguments, inner=inner, name=name, **options):
            calls.append(name)
            return inner(*arguments, **options)

        monkeypatch.setattr(module, name, counted)
    return calls


def arrays(opened):
    subject = subject_in(opened, load_generator(opened))
    return [np.asarray(leaf) for leaf in (*subject.curvature(), *subject.calibration())]


def test_they_are_computed_once_and_not_before_they_are_needed(opened, computed):
    subject = subject_in(opened, load_generator(opened))
    assert computed == []
    assert subject.curvature() is subject.curvature()
    assert computed == ["mean_curvature"]
    first = arrays(opened)
    assert computed == ["mean_curvature", "calibrate"]
    for one, other in zip(first, arrays(opened), strict=True):
        np.testing.assert_array_equal(one, other)
    assert computed == ["mean_curvature", "calibrate"]
    assert {path.name for path in opened.path.iterdir()} >= FILES


def test_a_copy_of_the_deployment_has_them(opened, computed, tmp_path):
    arrays(opened)
    moved = opened.path.rename(tmp_path / "moved")
    arrays(open_deployment(moved))
    assert computed == ["mean_curvature", "calibrate"]


def rewritten(path, change):
    """The file with other arrays or facts."""
    with safetensors.safe_open(path, framework="numpy") as file:
        facts, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(facts, tensors)
    path.write_bytes(safetensors.numpy.save(tensors, metadata=facts))


def damage_array(_, tensors):
    tensors["eigenvalues"] = 2 * tensors["eigenvalues"]


def of_another(name, value):
    def change(facts, _):
        facts["belongs"] = json.dumps({**json.loads(facts["belongs"]), name: value}, sort_keys=True)

    return change


@pytest.mark.parametrize(
    "change",
    [
        damage_array,
        of_another("version", 0),
        of_another("generator", {"name": "", "sha256": "00", "noise_seed": 0}),
        of_another("basis", "00"),
        of_another("axes", "00"),
        of_another("sigma", 2.0),
        of_another("coding", "binary"),
        lambda facts, _: facts.clear(),
    ],
    ids=["array", "version", "generator", "basis", "axes", "sigma", "coding", "facts"],
)
def test_what_is_changed_or_of_another_is_computed_again(opened, computed, change):
    expected = arrays(opened)
    path = opened.path / "curvature.safetensors"
    rewritten(path, change)
    for one, other in zip(arrays(opened), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert computed.count("mean_curvature") == 2
    arrays(opened)
    assert computed.count("mean_curvature") == 2  # and replaced


def test_a_file_of_rubbish_is_replaced(opened, computed):
    (opened.path / "curvature.safetensors").write_bytes(b"rubbish")
    arrays(opened)
    arrays(opened)
    assert computed == ["mean_curvature", "calibrate"]


def test_a_deployment_that_cannot_be_written_has_them_in_the_cache(opened, computed, monkeypatch, tmp_path):
    replacing = constants.replacing

    def refuse(path):
        if path.parent == opened.path:
            raise PermissionError(f"{path} is read-only")
        return replacing(path)

    monkeypatch.setattr(constants, "replacing", refuse)
    for _ in range(2):
        arrays(opened)
    assert computed == ["mean_curvature", "calibrate"]
    assert not FILES & {path.name for path in opened.path.iterdir()}
    kept = list((tmp_path / "cache" / "constants").iterdir())
    assert {path.name.split("-")[0] for path in kept} == {"curvature", "encoder"}
    (tmp_path / "cache" / "constants").chmod(0o777)  # where anybody could have put them
    arrays(opened)
    assert computed.count("mean_curvature") == 2
    os.chmod(tmp_path / "cache" / "constants", 0o700)
