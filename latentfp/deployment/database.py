"""The SQLite file of a deployment's users: connections, schema, migration, and what failures mean.

Write-ahead log, one writer at a time, any number of readers; a transaction that was committed survives a
crash. Version 1 has the tables `users` and `seal`; version 2 adds `audit` and the ends of its chain in the
seal. Version 1 is read as it is, and the first writer migrates it in its own transaction.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from latentfp.deployment.manifest import TamperedDeployment

VERSION = 2
USERS = (
    """CREATE TABLE users (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        code BLOB NOT NULL UNIQUE,
        created TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('active', 'revoked')),
        note TEXT NOT NULL,
        digest BLOB NOT NULL
    )""",
    "CREATE TABLE seal (users INTEGER NOT NULL, total BLOB NOT NULL)",
)
AUDIT = (
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
    "ALTER TABLE seal ADD COLUMN entries INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE seal ADD COLUMN head BLOB NOT NULL DEFAULT x''",
    f"PRAGMA user_version = {VERSION}",
)
BUSY_SECONDS = 60.0  # how long a writer waits for others
CACHE_KIB = 256 * 1024  # of a writer, so that the indices of a million new users stay in memory
SURROUNDINGS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


class Seal(NamedTuple):
    """What the file states of itself.

    users, total: number of users and the sum of their digests; entries, head: number of entries of the audit
    log and the hash of its last, empty where there is none.
    """

    users: int
    total: bytes
    entries: int
    head: bytes


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees one state of the file, also where the folder cannot be written."""
    closed = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    with _connection(path, "ro&immutable=1" if closed else "rw") as connection:
        connection.execute("BEGIN")
        version(path, connection)
        yield connection


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that alone may write; what it wrote is kept if the block ends without an exception."""
    with _connection(path, "rw") as connection:
        connection.execute(f"PRAGMA cache_size = {-CACHE_KIB}")
        connection.execute("BEGIN IMMEDIATE")
        version(path, connection)
        yield connection
        connection.execute("COMMIT")


def create(path: Path, total: bytes) -> None:
    """Make the file, with no users and no entries; `total`: the sum that a seal starts from."""
    with _connection(path, "rwc") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN")
        run(connection, USERS)
        connection.execute("INSERT INTO seal VALUES (0, ?)", [total])
        run(connection, AUDIT)
        connection.execute("COMMIT")


def run(connection: sqlite3.Connection, statements: tuple[str, ...]) -> None:
    """Execute statements one by one inside the transaction that is open."""
    for statement in statements:
        connection.execute(statement)


def version(path: Path, connection: sqlite3.Connection) -> int:
    """The schema's version, 1 or 2. TamperedDeployment for another."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if not 1 <= found <= VERSION:
        raise TamperedDeployment(path, f"found schema version {found}, expected 1 to {VERSION}")
    return found


def read_seal(path: Path, connection: sqlite3.Connection) -> Seal:
    """The one seal. TamperedDeployment where there is none or are several."""
    columns = "users, total, entries, head" if version(path, connection) > 1 else "users, total, 0, x''"
    seals = connection.execute(f"SELECT {columns} FROM seal").fetchall()
    if len(seals) != 1:
        raise TamperedDeployment(path, f"found {len(seals)} seals of the users, expected one")
    return Seal(*seals[0])


def check_pages(path: Path, connection: sqlite3.Connection) -> None:
    """Let SQLite verify its own structure: pages, indices, constraints."""
    found = connection.execute("PRAGMA integrity_check").fetchall()
    if found != [("ok",)]:
        raise TamperedDeployment(path, f"found damage ({found[0][0]}), expected none")


@contextmanager
def _connection(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)
        with closing(connection):
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise _explained(path, error) from error


def _explained(path: Path, error: Exception) -> Exception:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None or code & 0xFF not in SURROUNDINGS:
        return TamperedDeployment(path, f"not a database of users ({error})")
    return OSError(f"{path}: {error}; nothing was changed: check the disk, the permissions and other users")
