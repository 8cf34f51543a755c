"""The users of a deployment, their codes, and the log of what was done to them, in one SQLite file.

Every row carries a digest of the deployment's identity and all its columns, as a JSON list with bytes in
hexadecimal; the digests are the leaves of a tree (merkle.py), whose root stands in the seal and in the last
entry of the audit log (audit.py). Whatever is read is verified first: a row by its digest and its way to the
root, all rows by the whole tree. So an edited, swapped, added or removed row and the file of another
deployment are found. Digests and entries are HMAC-SHA-256 under a key of the deployment's secret; without a
secret they are plain SHA-256, which whoever can write the file can compute anew.

A row also says where the user's code came from, and holds a salt. When users are added, the log gets the
commitment to their codes: the Merkle root of a salted hash of each. Later, `opening` proves to an outsider
what one user's code was, and shows nothing of the others.

Write-ahead log, one writer at a time, any number of readers; a transaction that was committed survives a
crash. Adding is one transaction: all users or none, with its entry in the audit log.
"""

import hashlib
import json
import os
import secrets
import sqlite3
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from itertools import repeat
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from latentfp.choices import CodeOrigin, Status
from latentfp.deployment import merkle
from latentfp.deployment.audit import AuditKey, AuditLog, Entry, Seal, keyed, unkeyed
from latentfp.deployment.manifest import TamperedDeployment, now
from latentfp.deployment.usernames import check_usernames, refuse_taken
from latentfp.fingerprint.codes import CodeBook, Packed, unpack
from latentfp.runtime.progress import Advance, progress

VERSION = 3
SCHEMA = """CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    code BLOB NOT NULL UNIQUE,
    created TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'revoked')),
    note TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('drawn', 'seeded', 'supplied')),
    salt BLOB NOT NULL,
    digest BLOB NOT NULL
)"""
SALT = 16  # bytes
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
BATCH = 10_000  # rows between two signs of progress
MANY = 100_000  # rows from which progress is shown


class User(NamedTuple):
    """One user. `id` counts from 1 in order of registration; `created` is UTC, ISO 8601.

    `note`: everything that was noted of the user, oldest first, a line each; `origin`: of the code.
    """

    id: int
    name: str
    code: Bool[np.ndarray, " k"]
    created: str
    status: Status
    note: str
    origin: CodeOrigin


class _Row(NamedTuple):
    """A user as stored; `code` is packed."""

    id: int
    name: str
    code: bytes
    created: str
    status: str
    note: str
    origin: str
    salt: bytes


COLUMNS = ", ".join(_Row._fields)


class Registry(NamedTuple):
    """The users in the file `path` of the deployment called `identity`, with codes of `bits` bits.

    `assign` gives new users their codes (codebook.py), in which every bit comes `repeats` times; `key`: of
    the rows' digests and the log's hashes.
    Any number of processes may read and add at once. Besides their own errors all methods raise
    TamperedDeployment when the file is not as it was written, and OSError, with nothing changed, when the
    disk is full, the file locked or the folder closed.
    """

    path: Path
    identity: str
    bits: int
    assign: Callable[[int | None, int, int, Callable[[], Packed]], Packed]
    key: AuditKey = unkeyed
    repeats: int = 1

    @property
    def log(self) -> AuditLog:
        """The audit log in the same file."""
        return AuditLog(self.path, self.identity, self.key)

    def create(self) -> None:
        """Make the file, with no users."""
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with self._connection("rw") as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN")
            connection.execute(SCHEMA)
            connection.execute(merkle.SCHEMA)
            self.log.create(connection)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")

    def add(
        self,
        usernames: Sequence[str],
        *,
        note: str | Sequence[str] = "",
        seed: int | None = None,
        codes: Packed | None = None,
    ) -> range:
        """Register any number of new users in this order, all or none, and return their ids.

        `note`: one for all or one each; `seed`: of the assigned codes; `codes`: packed codes [n bytes] that
        are used instead. ValueError for a name that is taken, given twice or not a name, for codes that are
        of another width or not all different, or when none are left.
        """
        wanted = check_usernames(usernames)
        notes = repeat(note, len(wanted)) if isinstance(note, str) else note
        with self._writing() as (connection, seal):
            refuse_taken(_taken(connection, wanted))
            first, created = seal.users + 1, now()
            ids = range(first, first + len(wanted))
            if not wanted:
                return ids
            salts, origin = [secrets.token_bytes(SALT) for _ in wanted], CodeOrigin.SUPPLIED
            if codes is None:
                origin = CodeOrigin.DRAWN if seed is None else CodeOrigin.SEEDED
                codes = self.assign(seed, first, len(wanted), lambda: self._packed(connection))
            check_codes(codes, len(wanted), bits=self.bits, repeats=self.repeats)
            rows = [
                _Row(number, name, code.tobytes(), created, Status.ACTIVE.value, said, origin.value, salt)
                for number, name, code, said, salt in zip(ids, wanted, codes, notes, salts, strict=True)
            ]
            digest = self._insert(connection, rows)
            root = merkle.update(connection, self.identity, ids, ids.stop - 1)
            subject = {
                "first": first,
                "count": len(wanted),
                "sha256": digest,
                "codes": origin.value,
                "commitment": merkle.commitment([self._opened(row) for row in rows]).hex(),
            }
            self.log.append(connection, "add", subject, users=ids.stop - 1, root=root)
        return ids

    def users(self) -> list[User]:
        """All users, active and revoked, in order of registration. For many of them: `stream`."""
        return list(self.stream())

    def stream(self) -> Iterator[User]:
        """All users in order of registration; that none is missing is verified after the last."""
        with self.reading() as connection:
            yield from map(self._user, self._rows(connection))

    def codes(self) -> tuple[list[str], CodeBook]:
        """Names and codes [n k] of all users, active and revoked, in order of registration."""
        with self.reading() as connection:
            rows = list(self._rows(connection))
        return [row.name for row in rows], unpack(self._joined(rows), bits=self.bits)

    def packed(self) -> Packed:
        """The packed codes [n bytes] of all users, active and revoked, in order of registration."""
        with self.reading() as connection:
            return self._packed(connection)

    def seal(self) -> Seal:
        """What the file states of itself, verified."""
        with self.reading() as connection:
            return self.log.check_end(connection)

    def count(self) -> int:
        """How many users there are, active and revoked."""
        return self.seal().users

    def user(self, name: str) -> User:
        """The user of this name. ValueError for an unknown name."""
        with self.reading() as connection:
            return self._user(self._named(connection, name))

    def user_of(self, row: int) -> User:
        """The user in this row, from 0. ValueError for a row that there is not."""
        with self.reading() as connection:
            found = self._one(connection, "id", row + 1)
            if found is None:
                last = self.log.check_end(connection).users - 1
                raise ValueError(f"no user in row {row}: expected 0 … {last}")
        return self._user(found)

    def opening(self, name: str) -> dict[str, Any]:
        """What proves to an outsider that a user's code is the one that was committed to, as JSON.

        `entry` and `time`: of the audit log, which states the `commitment`; `path`: merkle.proof of what
        `merkle.opened_code` makes of the rest. ValueError for an unknown name.
        """
        with self.reading() as connection:
            row = self._named(connection, name)
            entry, added = next(
                (entry, added)
                for entry in self.log.entries(connection)
                if entry.action == "add"
                and row.id
                in range((added := json.loads(entry.subject))["first"], added["first"] + added["count"])
            )
            batch = range(added["first"], added["first"] + added["count"])
            query = f"SELECT {COLUMNS} FROM users WHERE id BETWEEN ? AND ? ORDER BY id"
            found = connection.execute(query, [batch[0], batch[-1]])
            opened = [self._opened(_Row._make(values)) for values in found]
        return {
            "entry": entry.number,
            "time": entry.time,
            "commitment": added["commitment"],
            "first": batch[0],
            "count": len(batch),
            "deployment": self.identity,
            "number": row.id,
            "name": row.name,
            "code": row.code.hex(),
            "salt": row.salt.hex(),
            "path": [it.hex() for it in merkle.proof(opened, row.id - batch[0])],
        }

    def set_status(self, name: str, status: Status, *, note: str = "") -> User:
        """Revoke or reinstate a user; a note that says why joins those before.

        ValueError for an unknown name.
        """
        with self._writing() as (connection, seal):
            old = self._named(connection, name)
            notes = "\n".join(filter(None, (old.note, note)))
            new = old._replace(status=status.value, note=notes)
            values = [new.status, new.note, self._digest(self.key(), new), new.id]
            connection.execute("UPDATE users SET status = ?, note = ?, digest = ? WHERE id = ?", values)
            action = "revoke" if status is Status.REVOKED else "reinstate"
            subject = {"user": old.id, "name": old.name, "note": note}
            root = merkle.update(connection, self.identity, range(old.id, old.id + 1), seal.users)
            self.log.append(connection, action, subject, root=root)
        return self._user(new)

    def record(self, action: str, subject: Mapping[str, Any]) -> Entry:
        """Log what changes no user, such as an export or an attribution; `subject` becomes JSON."""
        with self._writing() as (connection, _):
            return self.log.append(connection, action, subject)

    def note(self, action: str, subject: Mapping[str, Any]) -> None:
        """As `record`; where the log cannot be written, that is said on stderr, and nothing is entered."""
        try:
            self.record(action, subject)
        except OSError as error:
            sys.stderr.write(f"note: not in the audit log: {error}\n")

    def audit(self) -> Iterator[Entry]:
        """The entries of the audit log in order, as stored: `verify_audit` verifies them."""
        with self.reading() as connection:
            yield from self.log.entries(connection)

    def verify_audit(self, head: Mapping[str, Any] | None = None) -> Seal:
        """Verify the audit log, and that it goes on from a `head` that was kept elsewhere.

        TamperedDeployment names the first broken entry. ValueError for another deployment's head.
        """
        with self.reading(check=False) as connection:
            seal = self.log.verify(connection)
            if head is None:
                return seal
            if head.get("deployment") != self.identity:
                raise ValueError(f"the head is of deployment {head.get('deployment')!a}, not {self.identity}")
            number, stated = head.get("entries"), head.get("head")
            found = next((it.hash.hex() for it in self.log.entries(connection) if it.number == number), "")
        if found != stated:
            fault = f"entry {number} of the audit log is {found or 'missing'}, expected the head {stated}"
            raise TamperedDeployment(self.path, fault)
        return seal

    def head(self) -> dict[str, Any]:
        """Where the audit log ends now, as JSON."""
        seal = self.seal()
        facts = {
            "entries": seal.entries,
            "head": seal.head.hex(),
            "users": seal.users,
            "root": seal.root.hex(),
        }
        return {"deployment": self.identity, "time": now(), **facts}

    def check(self) -> None:
        """Compare the seal with the last user and the last entry: what opening a deployment does."""
        with self.reading():
            pass

    def verify(self) -> None:
        """Check every page, every row and every entry of the file."""
        with self.reading(check=False) as connection:
            found = connection.execute("PRAGMA integrity_check").fetchall()
            if found != [("ok",)]:
                raise TamperedDeployment(self.path, f"found damage ({found[0][0]}), expected none")
            self.log.verify(connection)
            self._packed(connection)

    @contextmanager
    def reading(self, *, check: bool = True) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the file, also where the folder cannot be written.

        `check`: whether its end is verified before.
        """
        path = self.path
        closed = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
        with self._connection("ro&immutable=1" if closed else "rw") as connection:
            connection.execute("BEGIN")
            self._check_version(connection)
            if check:
                self._check_ends(connection)
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[tuple[sqlite3.Connection, Seal]]:
        """A connection that alone may write; what it wrote is kept if the block ends without an exception."""
        with self._connection("rw") as connection:
            connection.execute(f"PRAGMA cache_size = {-CACHE_KIB}")
            connection.execute("BEGIN IMMEDIATE")
            self._check_version(connection)
            yield connection, self._check_ends(connection)
            connection.execute("COMMIT")

    @contextmanager
    def _connection(self, mode: str) -> Iterator[sqlite3.Connection]:
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        try:
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)
            with closing(connection):
                yield connection
        except merkle.BrokenTree as error:
            raise TamperedDeployment(self.path, str(error)) from error
        except (sqlite3.Error, UnicodeDecodeError) as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code is None or code & 0xFF not in SURROUNDINGS:
                raise TamperedDeployment(self.path, f"not a database of users ({error})") from error
            todo = "nothing was changed: check the disk, the permissions and other users"
            raise OSError(f"{self.path}: {error}; {todo}") from error

    def _check_version(self, connection: sqlite3.Connection) -> None:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found != VERSION:
            raise TamperedDeployment(self.path, f"found schema version {found}, expected {VERSION}")

    def _check_ends(self, connection: sqlite3.Connection) -> Seal:
        seal = self.log.check_end(connection)
        (last,) = connection.execute("SELECT ifnull(max(id), 0) FROM users").fetchone()
        if last != seal.users:
            fault = f"found {last} users by their last number, expected the sealed {seal.users}"
            raise TamperedDeployment(self.path, fault)
        return seal

    def _rows(self, connection: sqlite3.Connection) -> Iterator[_Row]:
        """All rows by id, each verified before it is given, and the root after the last."""
        seal, key, digests = self._check_ends(connection), self.key(), bytearray()
        found = connection.execute(f"SELECT {COLUMNS}, digest FROM users ORDER BY id")
        with _shown("reading users", seal.users) as advance:
            while some := found.fetchmany(BATCH):
                for *values, digest in some:
                    yield self._verified(key, values, digest)
                    digests += digest
                advance(len(some))
        root = merkle.root_of(self.identity, bytes(digests)) if digests else merkle.empty_root(self.identity)
        if root != seal.root:
            count = len(digests) // merkle.DIGEST
            fault = f"found {count} users with the root {_show(root)}, expected the sealed {seal.users} with "
            raise TamperedDeployment(self.path, fault + _show(seal.root))

    def _one(self, connection: sqlite3.Connection, column: str, value: str | int) -> _Row | None:
        query = f"SELECT {COLUMNS}, digest FROM users WHERE {column} = ?"
        found = connection.execute(query, [value]).fetchone()
        if found is None:
            return None
        row, seal = self._verified(self.key(), found[:-1], found[-1]), self.log.check_end(connection)
        root = merkle.root_through(connection, self.identity, row.id, found[-1], seal.users)
        if root != seal.root:
            fault = (
                f"user {row.id} {row.name!r} belongs to the root {_show(root)}, expected {_show(seal.root)}"
            )
            raise TamperedDeployment(self.path, fault)
        return row

    def _named(self, connection: sqlite3.Connection, name: str) -> _Row:
        found = self._one(connection, "name", unicodedata.normalize("NFC", name))
        if found is None:
            count = self.log.check_end(connection).users
            raise ValueError(f"no user {name!r} among the {count}: see `latentfp users list`")
        return found

    def _verified(self, key: bytes | None, values: Iterable[object], digest: object) -> _Row:
        row = _Row._make(values)
        try:
            expected = self._digest(key, row)
        except (AttributeError, TypeError):  # text for bytes or the reverse
            expected = None
        if expected is None or digest != expected:
            fault = f"found digest {_show(digest)} at user {row.id} {row.name!r}, expected {_show(expected)}"
            raise TamperedDeployment(self.path, fault)
        return row

    def _digest(self, key: bytes | None, row: _Row) -> bytes:
        texts = map(quoted, (row.created, row.status, row.note, row.origin, row.salt.hex()))
        values = (quoted(self.identity), str(row.id), quoted(row.name), f'"{row.code.hex()}"', *texts)
        return keyed(key, f"[{', '.join(values)}]".encode())

    def _opened(self, row: _Row) -> bytes:
        """What the commitment to a user's code commits to."""
        return merkle.opened_code(self.identity, row.id, row.name, row.code, row.salt)

    def _insert(self, connection: sqlite3.Connection, rows: Sequence[_Row]) -> str:
        """Add rows; the SHA-256 of their digests in order, hexadecimal."""
        whole, key = hashlib.sha256(), self.key()
        with _shown("adding users", len(rows)) as advance:
            for at in range(0, len(rows), BATCH):
                some = rows[at : at + BATCH]
                digests = [self._digest(key, row) for row in some]
                values = ((*row, digest) for row, digest in zip(some, digests, strict=True))
                places = ", ".join("?" * (len(_Row._fields) + 1))
                try:
                    connection.executemany(f"INSERT INTO users VALUES ({places})", values)
                except sqlite3.IntegrityError as error:
                    if "users.code" not in str(error):
                        raise
                    raise ValueError("a code is registered already: every user needs another") from error
                whole.update(b"".join(digests))
                advance(len(some))
        return whole.hexdigest()

    def _packed(self, connection: sqlite3.Connection) -> Packed:
        return self._joined(self._rows(connection))

    def _joined(self, rows: Iterable[_Row]) -> Packed:
        """The packed codes of rows. TamperedDeployment for one of another width."""
        width, codes = width_of(self.bits), []
        for row in rows:
            if len(row.code) != width:
                fault = f"the code of {row.name!r} has {len(row.code)} bytes, expected {width}"
                raise TamperedDeployment(self.path, fault)
            codes.append(row.code)
        return np.frombuffer(b"".join(codes), dtype=np.uint8).reshape(-1, width)

    def _user(self, row: _Row) -> User:
        (code,) = unpack(self._joined([row]), bits=self.bits)
        status, origin = Status(row.status), CodeOrigin(row.origin)
        return User(row.id, row.name, code, row.created, status, row.note, origin)


def check_codes(codes: Packed, count: int, *, bits: int, repeats: int = 1) -> None:
    """ValueError where these are not `count` different codes of `bits` bits, each `repeats` times in a row.

    A code is packed as fingerprint/codes.py says.
    """
    width = width_of(bits)
    if codes.shape != (count, width):
        raise ValueError(
            f"got packed codes of shape {codes.shape}, expected {(count, width)}: {bits} bits a user"
        )
    spare = 8 * width - bits
    if spare and int.from_bytes(np.bitwise_or.reduce(codes, axis=0).tobytes()) % 2**spare:
        raise ValueError(f"got codes with ones beyond their {bits} bits, expected zeros there")
    messages = unpack(codes, bits=bits).reshape(count, -1, repeats)
    if (messages != messages[:, :, :1]).any():
        raise ValueError(
            f"got codes whose bits do not come {repeats} times in a row, as this deployment's do"
        )
    if len(np.unique(codes.view(f"V{width}"))) < count:
        raise ValueError("got one code twice, expected another for every user")


def width_of(bits: int) -> int:
    """How many bytes a packed code of so many bits has."""
    return 8 * -(-bits // 64)


def _taken(connection: sqlite3.Connection, usernames: Sequence[str]) -> list[str]:
    query = "SELECT name FROM users WHERE name IN (SELECT value FROM json_each(?))"
    return [name for (name,) in connection.execute(query, [json.dumps(usernames)])]


def _shown(description: str, count: int) -> AbstractContextManager[Advance]:
    return progress(description, count) if count >= MANY else nullcontext(lambda _: None)


def _show(digest: object) -> str:
    return digest.hex() if isinstance(digest, bytes) else repr(digest)
