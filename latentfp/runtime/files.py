"""Files that appear whole or not at all, whoever else writes beside; the hash and the printed name of one;
strict JSON."""

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LARGEST = 1 << 30  # bytes of a file of JSON


def beside(path: Path) -> Path:
    """A hidden name in the folder of `path`, with its suffix, that no other process of any machine uses."""
    return path.with_name(f".{secrets.token_hex(8)}.part{path.suffix}")


@contextmanager
def naming(path: Path, *, instead_of: Path | None = None) -> Iterator[None]:
    """An OSError of the block names `path` where it names nothing, as of a full disk, or `instead_of`."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(instead_of)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The block writes to the name that it is given, which takes the place of `path` when the block succeeds.

    Otherwise it is deleted, and `path` is as it was. An OSError names `path`, not what stands for it.
    """
    partial = beside(path)
    try:
        with naming(path, instead_of=partial):
            yield partial
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def claim(path: Path, text: str) -> bool:
    """Whether `path` holds `text`. It is written where there is no such file, by the first who asks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = beside(path)
        fresh.write_text(text)
        with suppress(FileExistsError):
            _put(fresh, path)
        fresh.unlink(missing_ok=True)
    return path.read_text() == text


def _put(fresh: Path, path: Path) -> None:
    """Give `fresh` the name `path`. FileExistsError where that is taken (and the disk has hard links)."""
    try:
        os.link(fresh, path)
    except FileExistsError:
        raise
    except OSError:
        os.replace(fresh, path)


def printable(text: str) -> str:
    """A text in which what a terminal would act on, such as a line's end, is written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def file_hash(path: Path) -> str:
    """The SHA-256 of what a file holds, in hexadecimal. OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def without_waiting(path: str, flags: int) -> int:
    """An `opener` of `open` that no pipe holds up to which nobody writes."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_json(path: Path) -> dict[str, Any]:
    """The one object in a file of JSON, in which no name comes twice and all numbers are JSON's.

    ValueError where it is not so, whatever the file holds; OSError where it cannot be read.
    """
    with open(path, "rb", opener=without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise ValueError(f"{path} is no file, or too large")
        data = file.read(LARGEST)
    try:
        found = json.loads(data, object_pairs_hook=_unique, parse_constant=_refused)
    except RecursionError:
        raise ValueError(f"{path} is nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no name comes twice: programs differ in which one they take."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a name occurs twice in one object")
    return dict(pairs)


def _refused(_constant: str) -> None:
    raise ValueError("it has numbers that JSON has not")
