"""Very many files by number, without holding their names."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentfp.data import listing
from latentfp.data.listing import Listing

MANY = 10**6
MEMORY = f"""
import resource, sys
from pathlib import Path
from latentfp.data.listing import Listing
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
files = Listing([Path(sys.argv[1])])
assert len(files) == {MANY} and files[{MANY} - 1 : {MANY}] == [Path("folder/{MANY - 1:040d}.png")]
files.sha256()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("chunk", [1, 3, 1 << 24])
@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"a.png\n\nb c.png\n", ["a.png", "b c.png"]),
        (b"a.png\r\n\r\nb.png", ["a.png", "b.png"]),
        (b"\n\n", []),
        (b"", []),
        ("gr\u00fcn.png\n".encode() + b"\xff.png", ["gr\u00fcn.png", os.fsdecode(b"\xff.png")]),
        ("\ufeffgr\u00fcn.png\nb.png".encode(), ["gr\u00fcn.png", "b.png"]),
        ("\ufeffgr\u00fcn.png\r\nb.png".encode("utf-16-le"), ["gr\u00fcn.png", "b.png"]),
        ("\ufeffgr\u00fcn.png\nb.png\n".encode("utf-16-be"), ["gr\u00fcn.png", "b.png"]),
        ("\ufeff".encode(), []),
    ],
)
def test_lines_are_paths(tmp_path, monkeypatch, text, names, chunk):
    monkeypatch.setattr(listing, "CHUNK", chunk)
    path = tmp_path / "files.txt"
    path.write_bytes(text)
    found = Listing([path])
    assert len(found) == len(names)
    assert found[:] == [Path(name) for name in names]
    whole = b"".join(os.fsencode(name) + b"\n" for name in names)
    assert found.sha256() == hashlib.sha256(whole).hexdigest()


def test_texts_and_folders_follow_one_another(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("x.png", "y.png"):
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "images" / name)
    for name, lines in (("one.txt", "a\nb\n"), ("two.txt", "c\n")):
        (tmp_path / name).write_text(lines)
    found = Listing([tmp_path / "one.txt", tmp_path / "images", tmp_path / "two.txt"])
    whole = [Path("a"), Path("b"), tmp_path / "images" / "x.png", tmp_path / "images" / "y.png", Path("c")]
    for start in range(6):
        for stop in range(7):
            assert found[start:stop] == whole[start:stop]


@pytest.mark.slow
def test_a_million_names_take_few_bytes_each(tmp_path):
    """Their text is 52 MB; beside 16 bytes a line there are steps that hold a few times as much."""
    path = tmp_path / "files.txt"
    path.write_text("".join(f"folder/{i:040d}.png\n" for i in range(MANY)))
    command = [sys.executable, "-c", MEMORY, str(path)]
    held = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert held * 1024 < 52 * MANY + 100 * MANY  # the mapped text counts as well


@pytest.mark.parametrize("name", ["none.txt", "none"])
def test_what_is_not_there_is_named(tmp_path, name):
    with pytest.raises(ValueError, match=f"{name}: no such list or folder; check the path"):
        Listing([tmp_path / name])


def test_a_folder_without_images_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: a folder in which no image is found; name another"):
        Listing([tmp_path / "empty"])


@pytest.mark.parametrize("text", ["a.png\n".encode("utf-16-le"), b"\x89PNG\r\n\x1a\n\0\0", b"\xff\xfea"])
def test_what_is_no_list_is_refused(tmp_path, text):
    (tmp_path / "files.txt").write_bytes(text)
    with pytest.raises(ValueError, match=r"files\.txt: no list of paths, one a line; save it as UTF-8 text"):
        Listing([tmp_path / "files.txt"])
