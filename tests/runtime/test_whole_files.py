"""Files that appear whole or not at all."""

import os

import pytest

from latentfp.runtime import files


def test_a_file_is_replaced_when_the_block_succeeds(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("old")
    with files.replacing(path) as fresh:
        fresh.write_text("new")
        assert (fresh.parent, fresh.suffix, fresh.name[0]) == (tmp_path, ".npz", ".")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("written", [True, False])
def test_a_block_that_fails_leaves_nothing(tmp_path, written):
    path = tmp_path / "a.json"
    path.write_text("old")

    def fill():
        with files.replacing(path) as fresh:
            if written:
                fresh.write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fill()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_is_named(tmp_path):
    """A missing folder, and a full disk, which says no name by itself."""
    with pytest.raises(FileNotFoundError) as missing, files.replacing(tmp_path / "no" / "a.json") as fresh:
        fresh.write_text("new")
    assert str(missing.value).endswith(f": '{tmp_path / 'no' / 'a.json'}'")
    refused = pytest.raises(OSError, match="No space left")
    with refused as full, files.replacing(tmp_path / "a.json"), open("/dev/full", "w") as device:
        device.write("new")
    assert str(full.value).endswith(f": '{tmp_path / 'a.json'}'")
    with pytest.raises(OSError, match=r"^odd$"), files.replacing(tmp_path / "a.json"):
        raise OSError("odd")


@pytest.mark.parametrize("links", [True, False])
def test_a_claim_is_the_first_ones(tmp_path, monkeypatch, links):
    """Also where the disk has no hard links."""

    def refuse(*_):
        raise OSError("not supported")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "folder" / "job.json"
    assert files.claim(path, "mine")
    assert files.claim(path, "mine")
    assert not files.claim(path, "another")
    assert path.read_text() == "mine"
    assert list(path.parent.iterdir()) == [path]


def test_of_two_claims_at_once_the_first_stays(tmp_path, monkeypatch):
    path = tmp_path / "job.json"
    link = os.link

    def late(source, target):
        path.write_text("theirs")  # after we saw that there was none
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert not files.claim(path, "ours")
    assert path.read_text() == "theirs"
