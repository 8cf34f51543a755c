"""Decoders on disk: what is saved is loaded, by the fingerprint space that it belongs to and by no other."""

import json

import jax
import numpy as np
import pytest
from linear_space import write_deployment
from small_decoder import NETWORK, small_decoder, write_decoder

from latentfp.deployment import decoders
from latentfp.deployment.deployment import open_deployment


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return open_deployment(write_deployment(tmp_path_factory.mktemp("decoders"), size=16))


@pytest.fixture
def folder(opened, tmp_path):
    return write_decoder(tmp_path / "export", opened)


def edit(folder, **changed):
    """Change fields of the description; None deletes one."""
    path = folder / decoders.DESCRIPTION
    description = {**json.loads(path.read_text()), **changed}
    path.write_text(json.dumps({name: value for name, value in description.items() if value is not None}))


def test_what_is_saved_is_loaded(opened, folder):
    loaded, made = decoders.load(folder, opened), small_decoder(content=16, bits=32)
    assert loaded.decoder == made.decoder
    assert (loaded.iterations, len(loaded.sha256)) == (2, 64)
    assert jax.tree.structure(loaded.weights) == jax.tree.structure(made.weights)
    for found, expected in zip(jax.tree.leaves(loaded.weights), jax.tree.leaves(made.weights), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=2**-11, atol=2**-25)  # float16 of numbers below 1


def test_saving_replaces_what_is_there(opened, folder):
    first = decoders.load(folder, opened).sha256
    write_decoder(folder, opened, iterations=5, seed=1)
    again = decoders.load(folder, opened)
    assert again.sha256 != first
    assert again.iterations == 5
    assert sorted(path.name for path in folder.iterdir()) == [decoders.DESCRIPTION, decoders.WEIGHTS]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("basis", "ab" * 32),
        ("generator", "cd" * 32),
        ("sigma", 2.0),
        ("shift", 15),
        ("bits", 31),
        ("coding", "binary"),
    ],
)
def test_a_decoder_of_something_else_is_refused(opened, tmp_path, field, value):
    folder = write_decoder(tmp_path / "other", opened, **{field: value})
    right = decoders.belonging(opened)[field]
    with pytest.raises(ValueError, match=f"another deployment: {field} {value} instead of {right}; train"):
        decoders.load(folder, opened)
    assert not decoders.belongs(folder, opened)


def test_all_differences_are_named(opened, tmp_path):
    folder = write_decoder(tmp_path / "other", opened, sigma=2.0, coding="binary")
    with pytest.raises(ValueError, match=r"sigma 2\.0 instead of 1\.0; coding binary instead of antipodal;"):
        decoders.load(folder, opened)


def test_belonging_is_all_that_may_be_stated(opened, folder):
    assert decoders.belongs(folder, opened)
    assert json.loads((folder / decoders.DESCRIPTION).read_text())["belongs"] == decoders.belonging(opened)
    edit(folder, belongs={})
    with pytest.raises(ValueError, match="basis None instead of"):
        decoders.load(folder, opened)


@pytest.mark.parametrize("part", [decoders.DESCRIPTION, decoders.WEIGHTS])
def test_both_files_must_be_there(opened, folder, part):
    (folder / part).unlink()
    with pytest.raises(
        ValueError, match=r"holds no decoder: expected decoder\.json and weights\.safetensors"
    ):
        decoders.load(folder, opened)


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty"])
def test_damaged_weights_are_found(opened, folder, damage):
    path = folder / decoders.WEIGHTS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes({"flipped": data, "truncated": data[:-7], "empty": b""}[damage])
    with pytest.raises(ValueError, match=r"is not the file that decoder\.json names: get the decoder again"):
        decoders.load(folder, opened)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", '"text"', "{}", '{"format": 1}', "[" * 100_000, "\x00"]
)
def test_no_description_is_one_line(opened, folder, text):
    (folder / decoders.DESCRIPTION).write_text(text)
    with pytest.raises(ValueError, match="is no description of a decoder") as refused:
        decoders.load(folder, opened)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"format": 2},
        {"format": None},
        {"iterations": 0},
        {"iterations": 65},
        {"iterations": "many"},
        {"iterations": None},
        {"network": None},
        {"network": []},
        {"network": {**NETWORK, "depth": 3}},
        {"network": {"width": 8}},
        {"network": {**NETWORK, "channels": 0}},
        {"network": {**NETWORK, "width": -8}},
        {"network": {**NETWORK, "squeeze": "wide"}},
        {"network": {**NETWORK, "width": 8.5}},
        {"network": {**NETWORK, "width": "8"}},
        {"iterations": 2.0},
        {"belongs": None},
        {"belongs": []},
        {"weights": 7},
        {"weights": None},
    ],
)
def test_wrong_fields_are_refused(opened, folder, changed):
    edit(folder, **changed)
    with pytest.raises(ValueError, match="is no description of a decoder"):
        decoders.load(folder, opened)


@pytest.mark.parametrize("sizes", [{"width": 16}, {"blocks": 2}, {"blocks": -1}])
def test_weights_of_other_sizes_are_refused(opened, folder, sizes):
    edit(folder, network={**NETWORK, **sizes})
    with pytest.raises(ValueError, match=r"does not fit decoder\.json: missing, unused or misshapen \['"):
        decoders.load(folder, opened)


def test_weights_that_are_no_safetensors_are_refused(opened, folder):
    (folder / decoders.WEIGHTS).write_bytes(b"no arrays")
    edit(folder, weights=decoders.sha256(b"no arrays"))
    with pytest.raises(ValueError, match="is not a safetensors file"):
        decoders.load(folder, opened)


class TestAdopt:
    @pytest.fixture
    def fresh(self, tmp_path):
        return open_deployment(write_deployment(tmp_path, size=16))

    def test_a_deployment_has_no_decoder_at_first(self, fresh):
        assert decoders.find(fresh) is None

    def test_the_decoder_becomes_the_deployments_own(self, fresh, tmp_path):
        export = write_decoder(tmp_path / "export", fresh)
        (export / "notes.txt").write_text("mine")
        adopted, found = decoders.adopt(fresh, export), decoders.find(fresh)
        assert found is not None
        assert found.sha256 == adopted.sha256
        names = sorted(path.name for path in (fresh.path / decoders.FOLDER).iterdir())
        assert names == [decoders.DESCRIPTION, decoders.WEIGHTS]

    def test_another_takes_its_place(self, fresh, tmp_path):
        decoders.adopt(fresh, write_decoder(tmp_path / "first", fresh))
        second = decoders.adopt(fresh, write_decoder(tmp_path / "second", fresh, iterations=4, seed=1))
        found = decoders.find(fresh)
        assert found is not None
        assert (found.sha256, found.iterations) == (second.sha256, 4)
        assert sorted(path.name for path in fresh.path.glob("decoder*")) == [decoders.FOLDER]

    def test_what_is_refused_changes_nothing(self, fresh, tmp_path):
        first = decoders.adopt(fresh, write_decoder(tmp_path / "first", fresh))
        with pytest.raises(ValueError, match="sigma"):
            decoders.adopt(fresh, write_decoder(tmp_path / "second", fresh, sigma=5.0))
        found = decoders.find(fresh)
        assert found is not None
        assert found.sha256 == first.sha256

    def test_a_disk_that_fails_changes_nothing(self, fresh, tmp_path, monkeypatch):
        first = decoders.adopt(fresh, write_decoder(tmp_path / "first", fresh))
        second = write_decoder(tmp_path / "second", fresh, seed=1)

        def full(source, target):
            del source
            target.write_bytes(b"half")
            raise OSError("no space left")

        monkeypatch.setattr(decoders.shutil, "copyfile", full)
        with pytest.raises(OSError, match="no space"):
            decoders.adopt(fresh, second)
        found = decoders.find(fresh)
        assert found is not None
        assert found.sha256 == first.sha256

    def test_leftovers_of_an_interruption_are_no_obstacle(self, fresh, tmp_path):
        for name in ("decoder.new", "decoder.old"):
            (fresh.path / name).mkdir()
            (fresh.path / name / "weights.safetensors").write_text("half")
        decoders.adopt(fresh, write_decoder(tmp_path / "first", fresh))
        assert decoders.find(fresh) is not None
        assert [path.name for path in fresh.path.glob("decoder*")] == [decoders.FOLDER]

    def test_its_own_decoder_may_be_adopted_again(self, fresh, tmp_path):
        first = decoders.adopt(fresh, write_decoder(tmp_path / "first", fresh))
        decoders.adopt(fresh, fresh.path / decoders.FOLDER)
        found = decoders.find(fresh)
        assert found is not None
        assert found.sha256 == first.sha256

    def test_a_broken_decoder_is_not_taken_for_none(self, fresh):
        (fresh.path / decoders.FOLDER).mkdir()
        with pytest.raises(ValueError, match="holds no decoder"):
            decoders.find(fresh)
