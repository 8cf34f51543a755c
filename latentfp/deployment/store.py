"""The SQLite file of a deployment's users: a table of rows under a seal.

Every row carries the SHA-256 of the deployment's identity and all its columns; `seal` holds the number of
rows and the sum of those digests modulo 2^256, started from the hash of the identity. Every reading verifies
both, so an edited, added or removed row and the file of another deployment are found. Not found are an older
copy of the whole file, and the work of someone who computes the digests anew: they hold no secret.

Write-ahead log, one writer at a time, any number of readers; a transaction that was committed survives a
crash.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from latentfp.deployment.manifest import TamperedDeployment

VERSION = 1
SCHEMA = f"""
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    code BLOB NOT NULL UNIQUE,
    created TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'revoked')),
    note TEXT NOT NULL,
    digest BLOB NOT NULL
);
CREATE TABLE seal (users INTEGER NOT NULL, total BLOB NOT NULL);
PRAGMA user_version = {VERSION};
COMMIT;
"""
BUSY_SECONDS = 60.0  # how long a writer waits for others
MODULUS = 2**256
TO_JSON = json.JSONEncoder(default=bytes.hex)
SURROUNDINGS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


class Row(NamedTuple):
    """A user as stored; `code` is packed."""

    id: int
    name: str
    code: bytes
    created: str
    status: str
    note: str


COLUMNS = ", ".join(Row._fields)


class Store(NamedTuple):
    """The file `path` of the deployment called `identity`.

    Every method raises TamperedDeployment when the file is not as it was written, and OSError, with nothing
    changed, when the disk is full, the file locked or the folder closed.
    """

    path: Path
    identity: str

    def create(self) -> None:
        """Make the file, with no users."""
        with self._connection("rwc") as connection:
            connection.executescript(SCHEMA)
            connection.execute("INSERT INTO seal VALUES (0, ?)", [_to_blob(self._start())])

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the file."""
        closed = (
            not os.access(self.path.parent, os.W_OK)
            and not self.path.with_name(f"{self.path.name}-wal").exists()
        )
        with self._connection("ro&immutable=1" if closed else "rw") as connection:
            connection.execute("BEGIN")
            self._check_version(connection)
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection that alone may write; what it wrote is kept if the block ends without an exception."""
        with self._connection("rw") as connection:
            connection.execute("BEGIN IMMEDIATE")
            self._check_version(connection)
            yield connection
            connection.execute("COMMIT")

    def rows(self, connection: sqlite3.Connection) -> list[Row]:
        """All rows by id, verified one by one and against the seal."""
        found, total = [], self._start()
        for *values, digest in connection.execute(f"SELECT {COLUMNS}, digest FROM users ORDER BY id"):
            row = Row(*values)
            expected = self._digest(row)
            if digest != expected:
                fault = (
                    f"found digest {_show(digest)} at user {row.id} {row.name!r}, expected {_show(expected)}"
                )
                raise TamperedDeployment(self.path, fault)
            found.append(row)
            total += int.from_bytes(digest)
        seals = connection.execute("SELECT * FROM seal").fetchall()
        if seals != [(len(found), _to_blob(total))]:
            sealed = [f"{users} users of sum {_show(stated)}" for users, stated in seals]
            fault = f"found {len(found)} users of sum {_show(_to_blob(total))}, expected the sealed {sealed}"
            raise TamperedDeployment(self.path, fault)
        return found

    def insert(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        """Add rows, inside `writing`."""
        digests = [self._digest(row) for row in rows]
        values = ((*row, digest) for row, digest in zip(rows, digests, strict=True))
        connection.executemany("INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        _reseal(connection, users=len(rows), change=sum(map(int.from_bytes, digests)))

    def update(self, connection: sqlite3.Connection, old: Row, new: Row) -> None:
        """Change status and note of the row `old`, inside `writing`."""
        digest = self._digest(new)
        values = [new.status, new.note, digest, old.id]
        connection.execute("UPDATE users SET status = ?, note = ?, digest = ? WHERE id = ?", values)
        change = int.from_bytes(digest) - int.from_bytes(self._digest(old))
        _reseal(connection, users=0, change=change)

    def check_pages(self, connection: sqlite3.Connection) -> None:
        """Let SQLite verify its own structure: pages, indices, constraints."""
        found = connection.execute("PRAGMA integrity_check").fetchall()
        if found != [("ok",)]:
            raise TamperedDeployment(self.path, f"found damage ({found[0][0]}), expected none")

    @contextmanager
    def _connection(self, mode: str) -> Iterator[sqlite3.Connection]:
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        try:
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)
            with closing(connection):
                connection.execute("PRAGMA foreign_keys = ON")
                yield connection
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> Exception:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None or code & 0xFF not in SURROUNDINGS:
            return TamperedDeployment(self.path, f"not a database of users ({error})")
        return OSError(
            f"{self.path}: {error}; nothing was changed: check the disk, the permissions and other users"
        )

    def _check_version(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            raise TamperedDeployment(self.path, f"found schema version {version}, expected {VERSION}")

    def _start(self) -> int:
        return int.from_bytes(hashlib.sha256(self.identity.encode()).digest())

    def _digest(self, row: Row) -> bytes:
        return hashlib.sha256(TO_JSON.encode([self.identity, *row]).encode()).digest()


def _reseal(connection: sqlite3.Connection, *, users: int, change: int) -> None:
    (total,) = connection.execute("SELECT total FROM seal").fetchone()
    blob = _to_blob(int.from_bytes(total) + change)
    connection.execute("UPDATE seal SET users = users + ?, total = ?", [users, blob])


def _to_blob(total: int) -> bytes:
    return (total % MODULUS).to_bytes(32)


def _show(digest: object) -> str:
    return digest.hex() if isinstance(digest, bytes) else repr(digest)
