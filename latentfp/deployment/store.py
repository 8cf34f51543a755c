"""The users of a deployment as rows under a seal.

Every row carries the SHA-256 of the deployment's identity and all its columns, as a JSON list with the code
in hexadecimal; the seal holds the number of rows and the sum of those digests modulo 2^256, started from the
hash of the identity. Reading one row verifies its digest, reading all of them the seal, too, so that an
edited, added or removed row and the file of another deployment are found. The digests hold no secret:
whoever computes them anew is found by the audit log of a deployment that has one (chain.py). The file itself:
database.py.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from typing import NamedTuple

from latentfp.deployment import database
from latentfp.deployment.chain import AuditKey, Chain, unkeyed
from latentfp.deployment.manifest import TamperedDeployment
from latentfp.runtime.progress import Advance, progress

MODULUS = 2**256
BATCH = 10_000  # rows between two signs of progress
MANY = 100_000  # rows from which progress is shown
ASKED = 500  # names in one question


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
    """The file `path` of the deployment called `identity`; `key` is the one of its audit log.

    Every method raises TamperedDeployment when the file is not as it was written, and OSError, with nothing
    changed, when the disk is full, the file locked or the folder closed.
    """

    path: Path
    identity: str
    key: AuditKey = unkeyed

    @property
    def chain(self) -> Chain:
        """The audit log in the file."""
        return Chain(self.path, self.identity, self.key, _to_blob(self._start()))

    def create(self) -> None:
        """Make the file, with no users."""
        database.create(self.path, _to_blob(self._start()))

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection that sees one state of the file."""
        return database.reading(self.path)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection that alone may write; what it wrote is kept if the block ends without an exception.

        The ends of users and log are compared first, and a file of version 1 is migrated.
        """
        with database.writing(self.path) as connection:
            self.check_ends(connection)
            if database.version(self.path, connection) < database.VERSION:
                self._migrate(connection)
            yield connection

    def count(self, connection: sqlite3.Connection) -> int:
        """How many users are sealed."""
        return database.read_seal(self.path, connection).users

    def stream(self, connection: sqlite3.Connection) -> Iterator[Row]:
        """All rows by id, each verified before it is given, and the seal after the last."""
        seal, count, total = database.read_seal(self.path, connection), 0, self._start()
        found = connection.execute(f"SELECT {COLUMNS}, digest FROM users ORDER BY id")
        with _shown("reading users", seal.users) as advance:
            while some := found.fetchmany(BATCH):
                for *values, digest in some:
                    row = self._verified(values, digest)
                    total += int.from_bytes(digest)
                    yield row
                count += len(some)
                advance(len(some))
        if (seal.users, seal.total) != (count, _to_blob(total)):
            sealed = f"{seal.users} users of sum {_show(seal.total)}"
            fault = f"found {count} users of sum {_show(_to_blob(total))}, expected the sealed {sealed}"
            raise TamperedDeployment(self.path, fault)

    def rows(self, connection: sqlite3.Connection) -> list[Row]:
        """All rows by id, verified one by one and against the seal."""
        return list(self.stream(connection))

    def named(self, connection: sqlite3.Connection, name: str) -> Row | None:
        """The row of this name, verified by itself; None where there is none."""
        return self._one(connection, "name", name)

    def numbered(self, connection: sqlite3.Connection, number: int) -> Row | None:
        """The row of this id, verified by itself; None where there is none."""
        return self._one(connection, "id", number)

    def taken(self, connection: sqlite3.Connection, names: Sequence[str]) -> list[str]:
        """Those of `names` that are registered."""
        found = []
        for at in range(0, len(names), ASKED):
            some = names[at : at + ASKED]
            marks = ", ".join("?" * len(some))
            found += connection.execute(f"SELECT name FROM users WHERE name IN ({marks})", some).fetchall()
        return [name for (name,) in found]

    def insert(self, connection: sqlite3.Connection, rows: Iterable[Row], *, count: int) -> str:
        """Add `count` rows inside `writing`; the SHA-256 of their digests in order, hexadecimal.

        ValueError for a code that is registered already.
        """
        whole, change, source = hashlib.sha256(), 0, iter(rows)
        with _shown("adding users", count) as advance:
            while some := list(islice(source, BATCH)):
                digests = [self._digest(row) for row in some]
                values = ((*row, digest) for row, digest in zip(some, digests, strict=True))
                try:
                    connection.executemany("INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?)", values)
                except sqlite3.IntegrityError as error:
                    if "users.code" not in str(error):
                        raise
                    raise ValueError("a code is registered already: every user needs another") from error
                change += sum(map(int.from_bytes, digests))
                whole.update(b"".join(digests))
                advance(len(some))
        self._reseal(connection, users=count, change=change)
        return whole.hexdigest()

    def update(self, connection: sqlite3.Connection, old: Row, new: Row) -> None:
        """Change status and note of the row `old`, inside `writing`."""
        digest = self._digest(new)
        values = [new.status, new.note, digest, old.id]
        connection.execute("UPDATE users SET status = ?, note = ?, digest = ? WHERE id = ?", values)
        change = int.from_bytes(digest) - int.from_bytes(self._digest(old))
        self._reseal(connection, users=0, change=change)

    def check_ends(self, connection: sqlite3.Connection) -> None:
        """Compare the seal with the last user and the last entry of the log, in a time that does not grow."""
        sealed = self.count(connection)
        (last,) = connection.execute("SELECT ifnull(max(id), 0) FROM users").fetchone()
        if last != sealed:
            fault = f"found {last} users by their last number, expected the sealed {sealed}"
            raise TamperedDeployment(self.path, fault)
        self.chain.check_end(connection)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        for _ in self.stream(connection):
            pass  # what is logged as found was verified
        database.run(connection, database.AUDIT)
        self.chain.append(connection, "migrate", {"from": 1, "users": self.count(connection)})

    def _one(self, connection: sqlite3.Connection, column: str, value: str | int) -> Row | None:
        query = f"SELECT {COLUMNS}, digest FROM users WHERE {column} = ?"
        found = connection.execute(query, [value]).fetchone()
        return None if found is None else self._verified(found[:-1], found[-1])

    def _verified(self, values: Iterable[object], digest: object) -> Row:
        row = Row._make(values)
        try:
            expected = self._digest(row)
        except (AttributeError, TypeError):  # text for bytes or the reverse
            expected = None
        if digest != expected:
            fault = f"found digest {_show(digest)} at user {row.id} {row.name!r}, expected {_show(expected)}"
            raise TamperedDeployment(self.path, fault)
        return row

    def _reseal(self, connection: sqlite3.Connection, *, users: int, change: int) -> None:
        total = int.from_bytes(database.read_seal(self.path, connection).total) + change
        connection.execute("UPDATE seal SET users = users + ?, total = ?", [users, _to_blob(total)])

    def _start(self) -> int:
        return int.from_bytes(hashlib.sha256(self.identity.encode()).digest())

    def _digest(self, row: Row) -> bytes:
        texts = map(quoted, (row.created, row.status, row.note))
        values = (quoted(self.identity), str(row.id), quoted(row.name), f'"{row.code.hex()}"', *texts)
        return hashlib.sha256(f"[{', '.join(values)}]".encode()).digest()


def _shown(description: str, count: int) -> AbstractContextManager[Advance]:
    return progress(description, count) if count >= MANY else nullcontext(lambda _: None)


def _to_blob(total: int) -> bytes:
    return (total % MODULUS).to_bytes(32)


def _show(digest: object) -> str:
    return digest.hex() if isinstance(digest, bytes) else repr(digest)
