"""The audit log of a deployment: what was done to its users, in a chain of hashes that only grows.

Every entry holds a hash of its own contents, of the hash of the entry before (the deployment's identity for
the first), and of `total`, the users' sum after the entry (registry.py). The seal, the one row of a table of
its own, repeats number of users, sum, number of entries and hash of the last. With a secret the hashes are
HMAC-SHA-256 under a key derived from it, so that whoever lacks it can neither write an entry nor change a
user without being found; without one they are plain SHA-256 and find damage and careless edits. Not found is
a file set back to an earlier state, whole or by its last entries: keep the head that `latentfp audit verify`
shows elsewhere.
"""

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from latentfp.deployment.manifest import TamperedDeployment, now

AuditKey = Callable[[], bytes | None]
SCHEMA = (
    """CREATE TABLE audit (
        number INTEGER PRIMARY KEY,
        time TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        total BLOB NOT NULL,
        before BLOB NOT NULL,
        hash BLOB NOT NULL
    )""",
    """CREATE TRIGGER audit_is_not_edited BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TABLE seal (
        users INTEGER NOT NULL, total BLOB NOT NULL, entries INTEGER NOT NULL, head BLOB NOT NULL
    )""",
)


class Seal(NamedTuple):
    """What the file states of itself: users, the sum of their digests, entries, the hash of the last.

    `head` is empty where there are no entries.
    """

    users: int
    total: bytes
    entries: int
    head: bytes


class Entry(NamedTuple):
    """One thing that was done. `time`: UTC, ISO 8601; `subject`: JSON; `total`: the users' sum after it."""

    number: int
    time: str
    action: str
    subject: str
    total: bytes
    before: bytes
    hash: bytes


COLUMNS = ", ".join(Entry._fields)


def unkeyed() -> None:
    """The key of a deployment that has no secret."""


class AuditLog(NamedTuple):
    """The log in the file `path` of the deployment `identity`; `key()` is asked only to write and verify.

    Methods take a connection inside a transaction, and raise TamperedDeployment when the file is not as it
    was written.
    """

    path: Path
    identity: str
    key: AuditKey

    @property
    def start(self) -> bytes:
        """The sum of no users."""
        return hashlib.sha256(self.identity.encode()).digest()

    def create(self, connection: sqlite3.Connection) -> None:
        """Make the tables: no entries, and the seal of no users."""
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute("INSERT INTO seal VALUES (0, ?, 0, x'')", [self.start])

    def append(
        self,
        connection: sqlite3.Connection,
        action: str,
        subject: Mapping[str, Any],
        *,
        more: int = 0,
        change: int = 0,
    ) -> Entry:
        """Log what was done and seal it: `more` users, by whose digests the sum has changed by `change`."""
        seal, last, key = self.check_end(connection), _last(connection), self.key()
        if last is not None and last.hash != _hash(key, last):
            raise TamperedDeployment(self.path, f"audit entry {last.number} is not as it was written")
        before = _origin(key, self.identity) if last is None else last.hash
        total = ((int.from_bytes(seal.total) + change) % 2**256).to_bytes(32)
        text = json.dumps(subject, sort_keys=True, ensure_ascii=False)
        entry = Entry(seal.entries + 1, now(), action, text, total, before, b"")
        entry = entry._replace(hash=_hash(key, entry))
        connection.execute(f"INSERT INTO audit ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", entry)
        sealed = Seal(seal.users + more, total, entry.number, entry.hash)
        connection.execute("UPDATE seal SET users = ?, total = ?, entries = ?, head = ?", sealed)
        return entry

    def seal(self, connection: sqlite3.Connection) -> Seal:
        """The one seal."""
        seals = connection.execute("SELECT users, total, entries, head FROM seal").fetchall()
        if len(seals) != 1:
            raise TamperedDeployment(self.path, f"found {len(seals)} seals of the users, expected one")
        return Seal(*seals[0])

    def check_end(self, connection: sqlite3.Connection) -> Seal:
        """The seal, compared with the last entry; needs no key, and a time that does not grow."""
        seal, last = self.seal(connection), _last(connection)
        end = (0, b"", self.start) if last is None else (last.number, last.hash, last.total)
        if (seal.entries, seal.head, seal.total) != end:
            fault = f"the seal of the users and audit entry {end[0]} differ"
            raise TamperedDeployment(self.path, f"{fault}, expected the entry {seal.entries} that is sealed")
        return seal

    def entries(self, connection: sqlite3.Connection) -> Iterator[Entry]:
        """All entries in order, as stored."""
        yield from map(Entry._make, connection.execute(f"SELECT {COLUMNS} FROM audit ORDER BY number"))

    def verify(self, connection: sqlite3.Connection) -> Seal:
        """Verify every entry and the end. The error names the first broken entry."""
        key = self.key()
        before = _origin(key, self.identity)
        for number, entry in enumerate(self.entries(connection), start=1):
            if (entry.number, entry.before) != (number, before) or entry.hash != _hash(key, entry):
                fault = f"found audit entry {entry.number} broken, expected entry {number} as it was written"
                raise TamperedDeployment(self.path, fault)
            before = entry.hash
        return self.check_end(connection)


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
