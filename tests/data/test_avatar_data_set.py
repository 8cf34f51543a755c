"""The avatars as TFDS stores them: images, order, splits, licence; without a network."""

import json
import socket
from typing import Any

import numpy as np
import pytest

from latentfp.data import avatars
from latentfp.data.datasets import Avatars, AvatarsConfig, Records, prepare

SPLITS = {"train": range(12), "validation": range(12, 17), "test": range(17, 20)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data directory with a small data set, made while nothing may connect to anywhere."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        prepare(small(folder))
    return folder


def refuse(*_, **__):
    """In place of a connection."""
    raise AssertionError("something tried to reach a network")


def small(folder) -> Any:
    """A builder of 20 images."""
    config = AvatarsConfig(name="small", style="adventurer", splits=SPLITS, workers=1)
    return Avatars(config=config, data_dir=folder, file_format="array_record")


def test_images_are_those_of_the_index_in_order(folder):
    for split, indices in SPLITS.items():
        records = Records(small(folder), split)
        assert len(records) == len(indices)
        expected = avatars.render_many("adventurer", indices, workers=1)
        np.testing.assert_array_equal(records.images(np.arange(len(indices))), expected)


def test_records_are_read_at_random(folder):
    records = Records(small(folder), "train")
    chosen = np.array([11, 0, 4, 4])
    expected = avatars.render_many("adventurer", chosen.tolist(), workers=1)
    np.testing.assert_array_equal(records.images(chosen), expected)


def test_stored_indices_are_disjoint_between_splits(folder):
    for split, indices in SPLITS.items():
        assert [row["index"] for row in small(folder).as_data_source(split)] == list(indices)


def test_licence_is_on_disk_with_the_images(folder):
    [version] = folder.glob("avatars/small/*")
    assert "CC BY 4.0" in (version / "LICENSE").read_text()
    info = json.loads((version / "dataset_info.json").read_text())
    assert "Lisa Wischofsky" in info["citation"]
    assert "licensed under „CC BY 4.0”" in info["description"]
    assert json.loads((version / "metadata.json").read_text()) == avatars.licence("adventurer")


def test_a_prepared_data_set_is_not_made_again(folder, monkeypatch):
    monkeypatch.setattr(avatars, "render_each", refuse)
    prepare(small(folder))


def test_preparing_prints_nothing_to_stdout(tmp_path, capsys):
    prepare(small(tmp_path))
    assert capsys.readouterr().out == ""


def test_every_style_is_a_config_and_the_first_the_default(tmp_path):
    assert tuple(Avatars.builder_configs) == avatars.STYLES
    assert Avatars(data_dir=tmp_path).builder_config.style == "toon_head"
    assert all(vars(config)["splits"] == avatars.SPLITS for config in Avatars.builder_configs.values())


def test_an_unknown_split_names_the_known_ones(folder):
    with pytest.raises(ValueError, match="no split 'dev': avatars has train, validation, test"):
        Records(small(folder), "dev")
