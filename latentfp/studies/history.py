"""Measurements of earlier commits, to compare with; one line each (runtime/lines.py)."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentfp.runtime.lines import Entry


def latest(entries: Sequence[Entry], alike: Mapping[str, Any]) -> Entry | None:
    """The last entry that has these fields with these values."""
    wanted = json.loads(json.dumps(alike))
    same = (entry for entry in reversed(entries) if {name: entry.get(name) for name in wanted} == wanted)
    return next(same, None)


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
