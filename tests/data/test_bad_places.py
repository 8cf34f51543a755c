"""Names and places that are no image file are refused at once, in one line."""

import os
import signal
import socket
from pathlib import Path

import pytest
from PIL import Image

from latentfp.data.files import UnreadableImage, read_image


def refusal(path, *, size=None):
    with pytest.raises(UnreadableImage) as caught:
        read_image(path, size=size)
    line = str(caught.value)
    assert line.isprintable(), "one line, and nothing that a terminal obeys"
    assert line.count("; ") >= 1, "says what to do"
    return line


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))


BAD_PLACES = {
    "missing": (Path, "no such file; check the path"),
    "folder": (
        Path.mkdir,
        "a folder in which no image is found; name image files or a folder that holds some",
    ),
    "pipe": (os.mkfifo, "a pipe, socket or device; save the image to a file first"),
    "socket": (a_socket, "a pipe, socket or device; save the image to a file first"),
    "device": (
        lambda path: path.symlink_to("/dev/zero"),
        "a pipe, socket or device; save the image to a file",
    ),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "no such file; check the path"),
    "circular link": (
        lambda path: path.symlink_to(path),
        "cannot be opened (Too many levels of symbolic links)",
    ),
}


@pytest.mark.parametrize("kind", BAD_PLACES)
def test_what_is_not_a_file_is_refused_at_once(kind, tmp_path, monkeypatch):
    make, reason = BAD_PLACES[kind]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "image.png"
    make(path)
    signal.alarm(20)  # a reader that waits for the other end of a pipe is killed
    assert refusal(path).startswith(f"{path}: {reason}")
    signal.alarm(0)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("", "'': no such file"),
        ("a\0b.png", "'a\\x00b.png': cannot be opened (embedded null byte)"),
        ("a" * 300 + ".png", "a" * 300 + ".png: cannot be opened (File name too long)"),
        ("new\nline\x1b[31m.png", "'new\\nline\\x1b[31m.png': no such file"),
        ("\udcff.png", "'\\udcff.png': no such file"),
    ],
)
def test_bad_names_stay_on_one_line(name, line):
    assert refusal(name).startswith(line)


def test_a_file_is_no_folder(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    assert "cannot be opened (Not a directory)" in refusal(tmp_path / "a.png" / "b.png")


@pytest.fixture
def without_privileges():
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)  # nobody
    yield
    os.seteuid(0)


def test_no_permission(tmp_path, request):
    path = tmp_path / "a.png"
    Image.new("RGB", (2, 2)).save(path)
    path.chmod(0)
    request.getfixturevalue("without_privileges")
    assert refusal(path) == f"{path}: no permission to read it; change its mode or owner"
