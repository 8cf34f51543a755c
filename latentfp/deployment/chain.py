"""The audit log of a deployment: what was done to its users, in a chain of hashes that only grows.

Every entry holds a hash of its own contents, of the hash of the entry before (the deployment's identity for
the first), and of `total`, the users' sealed sum after the entry; the seal holds the number and hash of the
last. With a secret the hashes are HMAC-SHA-256 under a key derived from it, so that whoever lacks it can
neither write an entry nor change a user without being found; without one they are plain SHA-256 and find
damage and careless edits. Not found is a file set back to an earlier state, whole or by its last entries:
keep the head that `latentfp audit verify` shows elsewhere.
"""

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from latentfp.deployment.database import read_seal, version
from latentfp.deployment.manifest import TamperedDeployment, now

AuditKey = Callable[[], bytes | None]


class Entry(NamedTuple):
    """One thing that was done. `time`: UTC, ISO 8601; `subject`: JSON; `total`: the users' sum after it."""

    number: int
    time: str
    action: str
    subject: str
    total: bytes
    before: bytes
    hash: bytes


class Head(NamedTuple):
    """The end of the chain: number of entries and the hash of the last, hexadecimal; empty without one."""

    entries: int
    hash: str


COLUMNS = ", ".join(Entry._fields)


def unkeyed() -> None:
    """The key of a deployment that has no secret."""


class Chain(NamedTuple):
    """The log in the file `path` of the deployment `identity`; `key()` is asked only to write and verify.

    `start`: the users' sum where nobody is registered.
    """

    path: Path
    identity: str
    key: AuditKey
    start: bytes

    def append(self, connection: sqlite3.Connection, action: str, subject: Mapping[str, Any]) -> Entry:
        """Log inside a writing transaction, after its change. TamperedDeployment where the end is broken."""
        seal, last, key = read_seal(self.path, connection), _last(connection), self.key()
        if (seal.entries, seal.head) != ((last.number, last.hash) if last else (0, b"")):
            fault = f"the audit log does not end with entry {seal.entries} as sealed"
            raise TamperedDeployment(self.path, fault)
        if last is not None and last.hash != _hash(key, last):
            raise TamperedDeployment(self.path, f"audit entry {last.number} is not as it was written")
        before = _origin(key, self.identity) if last is None else last.hash
        text = json.dumps(subject, sort_keys=True, ensure_ascii=False)
        entry = Entry(seal.entries + 1, now(), action, text, seal.total, before, b"")
        entry = entry._replace(hash=_hash(key, entry))
        connection.execute(f"INSERT INTO audit ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", entry)
        connection.execute("UPDATE seal SET entries = ?, head = ?", [entry.number, entry.hash])
        return entry

    def entries(self, connection: sqlite3.Connection) -> Iterator[Entry]:
        """All entries in order, as stored; none in a file of version 1."""
        if version(self.path, connection) > 1:
            yield from map(Entry._make, connection.execute(f"SELECT {COLUMNS} FROM audit ORDER BY number"))

    def check_end(self, connection: sqlite3.Connection) -> None:
        """Compare seal and last entry, without the key. TamperedDeployment where they differ."""
        if version(self.path, connection) == 1:
            return
        seal, last = read_seal(self.path, connection), _last(connection)
        sealed = (seal.entries, seal.head, seal.total)
        if sealed != ((last.number, last.hash, last.total) if last else (0, b"", self.start)):
            fault = f"the seal of the users and audit entry {last.number if last else 0} differ"
            raise TamperedDeployment(self.path, f"{fault}, expected the entry {seal.entries} that is sealed")

    def verify(self, connection: sqlite3.Connection) -> Head:
        """Verify every entry and the end. TamperedDeployment names the first broken entry."""
        key, number = self.key(), 0
        before = _origin(key, self.identity)
        for number, entry in enumerate(self.entries(connection), start=1):
            if (entry.number, entry.before) != (number, before) or entry.hash != _hash(key, entry):
                fault = f"found audit entry {entry.number} broken, expected entry {number} as it was written"
                raise TamperedDeployment(self.path, fault)
            before = entry.hash
        self.check_end(connection)
        return Head(number, before.hex() if number else "")


def _last(connection: sqlite3.Connection) -> Entry | None:
    found = connection.execute(f"SELECT {COLUMNS} FROM audit ORDER BY number DESC LIMIT 1").fetchone()
    return None if found is None else Entry(*found)


def _origin(key: bytes | None, identity: str) -> bytes:
    return _keyed(key, f"latentfp/audit/{identity}".encode())


def _hash(key: bytes | None, entry: Entry) -> bytes:
    fields = entry._asdict() | {"hash": ""}
    return _keyed(key, json.dumps(list(fields.values()), default=bytes.hex).encode())


def _keyed(key: bytes | None, data: bytes) -> bytes:
    return hashlib.sha256(data).digest() if key is None else hmac.digest(key, data, "sha256")
