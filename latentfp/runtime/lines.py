"""Files of JSON objects, one a line, to which lines are only ever added.

What is no JSON object, as after a process that was killed while it wrote, is passed over when the file is
read, and a new line never continues an old one.
"""

import json
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
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * _torn(path) + json.dumps(entry) + "\n")


def _torn(path: Path) -> bool:
    """Whether the last line was not written to its end."""
    with path.open("rb") as file:
        if not file.seek(0, 2):
            return False
        file.seek(-1, 2)
        return file.read(1) != b"\n"


def _entry(line: str) -> Entry | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
