"""What a study has measured so far: one line of JSON for every setting, so that a killed run goes on.

A line that was not written to its end is as if it had never been begun (runtime/lines.py). Several processes
of one study have a file each and read those of the others.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from latentfp.runtime import lines
from latentfp.runtime.processes import ALONE, Share

Numbers = dict[str, Any]


class Journal:
    """The lines of `path`, to which new ones are added, and of the other processes' files beside it.

    The file of process i of n > 1 is called STEM-i-of-n.jsonl. A setting is anything that JSON can hold;
    settings are the same where their JSON is.
    """

    def __init__(self, path: Path, share: Share = ALONE):
        own = f"{path.stem}-{share.index}-of-{share.count}"
        self._path = path if share.count == 1 else path.with_stem(own)
        self._pattern = f"{path.stem}*{path.suffix}"
        self._rows: dict[str, Numbers] = {}
        self._read_all()

    def get(self, setting: Any) -> Numbers | None:
        """The numbers of a setting, if it was measured."""
        return self._rows.get(_key(setting))

    def add(self, setting: Any, numbers: Numbers) -> None:
        """Keep the numbers of a setting."""
        lines.append(self._path, {"setting": setting, "numbers": numbers})
        self._rows[_key(setting)] = json.loads(json.dumps(numbers))

    def kept(self, setting: Any, measure: Callable[[], Numbers]) -> Numbers:
        """The numbers of a setting, measured and kept if that is new."""
        found = self.get(setting)
        if found is None:
            self.add(setting, measure())
            found = self._rows[_key(setting)]
        return found

    def complete(self, settings: Iterable[Any]) -> list[Numbers] | None:
        """The numbers of all settings, or None while another process still measures one of them."""
        self._read_all()
        found = [self.get(setting) for setting in settings]
        known = [numbers for numbers in found if numbers is not None]
        return known if len(known) == len(found) else None

    def _read_all(self) -> None:
        for path in sorted(self._path.parent.glob(self._pattern)):
            self._rows.update({_key(row["setting"]): row["numbers"] for row in lines.read(path)})


def _key(setting: Any) -> str:
    return json.dumps(setting, sort_keys=True)
