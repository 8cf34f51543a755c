"""Very many files by number: paths in text files stay there, and 16 bytes a file are held.

files = Listing([Path("files.txt"), Path("folder")])
files[5000:6000]
"""

import codecs
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from latentfp.data.files import find_images

CHUNK = 1 << 24  # bytes of a text file that are looked at together
TOGETHER = 10_000  # paths that are hashed together
LOOKED_AT = 1 << 12  # bytes that show whether it is a text
NEWLINE, RETURN = b"\n\r"


class Listing:
    """The paths named in .txt files, one a line, and the images below folders, in the order of `sources`.

    Texts are bytes as paths are, with or without a byte-order mark, or UTF-16 with one. Empty lines are left
    out. The images of folders are held by name. ValueError for what is not there, holds no image, or is no
    text.
    """

    def __init__(self, sources: Sequence[Path]):
        for path in sources:
            if not path.exists():
                raise ValueError(f"{path}: no such list or folder; check the path")
        self._parts = [_Lines(path) if path.suffix == ".txt" else _below(path) for path in sources]
        self._ends = np.cumsum([len(part) for part in self._parts], dtype=int).tolist()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, rows: slice) -> list[Path]:
        return [Path(os.fsdecode(name)) for name in self._names(rows)]

    def sha256(self) -> str:
        """The hash of all paths, in order, each with a line's end."""
        digest = hashlib.sha256()
        for start in range(0, len(self), TOGETHER):
            digest.update(b"".join(name + b"\n" for name in self._names(slice(start, start + TOGETHER))))
        return digest.hexdigest()

    def _names(self, rows: slice) -> list[bytes]:
        start, stop, _ = rows.indices(len(self))
        found: list[bytes] = []
        for part, end in zip(self._parts, self._ends, strict=True):
            begin = end - len(part)
            found += part[max(start - begin, 0) : max(stop - begin, 0)]
        return found


def _below(folder: Path) -> list[bytes]:
    found = find_images([folder])
    if found == [folder] and folder.is_dir():
        raise ValueError(f"{folder}: a folder in which no image is found; name another")
    return [os.fsencode(path) for path in found]


class _Lines:
    """The lines of a text file that are not empty, read when they are asked for."""

    def __init__(self, path: Path):
        self._text = _text(path)
        self._starts, self._stops = _spans(self._text)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, rows: slice) -> list[bytes]:
        spans = zip(self._starts[rows].tolist(), self._stops[rows].tolist(), strict=True)
        return [self._text[start:stop].tobytes() for start, stop in spans]


def _text(path: Path) -> UInt8[np.ndarray, " b"]:
    """The bytes of its lines: mapped, but for UTF-16."""
    text = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
    start = text[:LOOKED_AT].tobytes()
    try:
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return np.frombuffer(os.fsencode(text.tobytes().decode("utf-16")), np.uint8)
    except UnicodeError:
        start = b"\0"
    if b"\0" in start:
        raise ValueError(f"{path}: no list of paths, one a line; save it as UTF-8 text")
    return text[len(codecs.BOM_UTF8) :] if start.startswith(codecs.BOM_UTF8) else text


def _spans(text: UInt8[np.ndarray, " b"]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Where the lines begin and end that hold more than a line's end."""
    chunks = range(0, len(text), CHUNK)
    breaks = [np.flatnonzero(text[start : start + CHUNK] == NEWLINE) + start for start in chunks]
    stops = np.concatenate([*breaks, [len(text)]])
    starts = np.concatenate([[0], stops[:-1] + 1])
    ends = np.asarray(text)[np.maximum(stops - 1, 0)] if len(text) else stops
    stops = stops - ((stops > starts) & (ends == RETURN))
    return starts[stops > starts], stops[stops > starts]
