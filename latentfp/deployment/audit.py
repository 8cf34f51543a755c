"""The audit log of a deployment: what was done to its users, in a chain of hashes that only grows.

Every entry holds a hash of its own contents, of the hash of the entry before (the deployment's identity for
the first), and of `root`, that of the users after the entry (merkle.py). The seal, the one row of a table of
its own, repeats number of users, root, number of entries and hash of the last. With a secret the hashes are
HMAC-SHA-256 under a key derived from it, so that whoever lacks it can neither write an entry nor change a
user without being found, and nothing is read before the last entry was verified. Without one they are plain
SHA-256: they find damage and careless edits, and whoever can write the file can write anything. Not found is
a file set back to an earlier state, whole or by its last entries: keep the head that `latentfp audit head`
writes elsewhere, and give it to `latentfp audit verify --head`.
"""

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from latentfp.deployment.manifest import TamperedDeployment, now
from latentfp.deployment.merkle import empty_root

AuditKey = Callable[[], bytes | None]
SCHEMA = (
    """CREATE TABLE audit (
        number INTEGER PRIMARY KEY,
        time TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        root BLOB NOT NULL,
        before BLOB NOT NULL,
        hash BLOB NOT NULL
    )""",
    """CREATE TRIGGER audit_is_not_edited BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TABLE seal (
        users INTEGER NOT NULL, root BLOB NOT NULL, entries INTEGER NOT NULL, head BLOB NOT NULL
    )""",
)


class Seal(NamedTuple):
    """What the file states of itself: users, the root of their tree, entries, the hash of the last.

    `head` is empty where there are no entries.
    """

    users: int
    root: bytes
    entries: int
    head: bytes


class Entry(NamedTuple):
    """One thing that was done. `time`: UTC, ISO 8601; `subject`: JSON; `root`: the users' after it."""

    number: int
    time: str
    action: str
    subject: str
    root: bytes
    before: bytes
    hash: bytes


COLUMNS = ", ".join(Entry._fields)


def unkeyed() -> None:
    """The key of a deployment that has no secret."""


class AuditLog(NamedTuple):
    """The log in the file `path` of the deployment `identity`, with hashes under the key `key()`.

    Methods take a connection inside a transaction, and raise TamperedDeployment when the file is not as it
    was written.
    """

    path: Path
    identity: str
    key: AuditKey

    def create(self, connection: sqlite3.Connection) -> None:
        """Make the tables: no entries, and the seal of no users."""
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute("INSERT INTO seal VALUES (0, ?, 0, x'')", [empty_root(self.identity)])

    def append(
        self,
        connection: sqlite3.Connection,
        action: str,
        subject: Mapping[str, Any],
        *,
        users: int | None = None,
        root: bytes | None = None,
    ) -> Entry:
        """Log what was done and seal it: `users` with `root`, where these have changed."""
        seal, last, key = self.check_end(connection), _last(connection), self.key()
        before = _origin(key, self.identity) if last is None else last.hash
        text = json.dumps(subject, sort_keys=True, ensure_ascii=False)
        entry = Entry(seal.entries + 1, now(), action, text, root or seal.root, before, b"")
        entry = entry._replace(hash=_hash(key, entry))
        connection.execute(f"INSERT INTO audit ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", entry)
        sealed = Seal(seal.users if users is None else users, entry.root, entry.number, entry.hash)
        connection.execute("UPDATE seal SET users = ?, root = ?, entries = ?, head = ?", sealed)
        return entry

    def check_end(self, connection: sqlite3.Connection) -> Seal:
        """The seal, compared with the last entry, which is as it was written; takes no time that grows."""
        seals = connection.execute("SELECT users, root, entries, head FROM seal").fetchall()
        if len(seals) != 1:
            raise TamperedDeployment(self.path, f"found {len(seals)} seals of the users, expected one")
        seal, last = Seal(*seals[0]), _last(connection)
        if last is None:
            end = Seal(0, empty_root(self.identity), 0, b"")
        else:
            end = seal._replace(root=last.root, entries=last.number, head=last.hash)
        if seal != end:
            fault = f"the seal of the users and audit entry {end.entries} differ"
            raise TamperedDeployment(self.path, f"{fault}, expected the entry {seal.entries} that is sealed")
        if last is not None and last.hash != _hash(self.key(), last):
            raise TamperedDeployment(self.path, f"audit entry {last.number} is not as it was written")
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
    return keyed(key, f"latentfp/audit/{identity}".encode())


def _hash(key: bytes | None, entry: Entry) -> bytes:
    fields = entry._asdict() | {"hash": ""}
    return keyed(key, json.dumps(list(fields.values()), default=bytes.hex).encode())


def keyed(key: bytes | None, data: bytes) -> bytes:
    """HMAC-SHA-256 under a key, or SHA-256 without one."""
    return hashlib.sha256(data).digest() if key is None else hmac.digest(key, data, "sha256")
