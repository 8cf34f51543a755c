"""A history of measurements: one line of JSON for each run, so that commits can be compared.

Lines are only ever added. What is no JSON object, as after a process that was killed while it wrote, is
passed over when the file is read, and a new line never continues an old one.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


def read(path: Path) -> list[Entry]:
    """All whole entries, the oldest first; none where there is no file."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return [entry for entry in map(_entry, lines) if entry is not None]


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Add an entry. The folder is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * bool(torn) + json.dumps(entry) + "\n")


def latest(entries: list[Entry], alike: Mapping[str, Any]) -> Entry | None:
    """The last entry that has these fields with these values."""
    wanted = json.loads(json.dumps(alike))
    return next((entry for entry in reversed(entries) if wanted.items() <= _items(entry, wanted)), None)


def commit(folder: Path) -> str | None:
    """The commit that is checked out around `folder`, with "+" where its files differ; None without git."""
    head = _git(folder, "rev-parse", "--short=12", "HEAD")
    if head is None:
        return None
    return f"{head}+" if _git(folder, "status", "--porcelain", "--", ".") else head


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        found = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
    except OSError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def _entry(line: str) -> Entry | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _items(entry: Entry, wanted: Mapping[str, Any]) -> Any:
    return {name: entry.get(name) for name in wanted}.items()
