"""Users and their codes.

Adding is one transaction: all names or none, with its entry in the audit log. Codes come from a function
(codebook.py) or from elsewhere; this module keeps them, packed, and makes sure that no two are equal.

What protects the registry, and against what, is said in store.py and chain.py.
"""

import enum
import sqlite3
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from latentfp.deployment import database
from latentfp.deployment.chain import Entry, Head
from latentfp.deployment.codebook import Assign
from latentfp.deployment.manifest import TamperedDeployment, now
from latentfp.deployment.names import all_checked, refuse
from latentfp.deployment.store import Row, Store
from latentfp.fingerprint.codes import CodeBook, Packed, unpack


class Status(enum.StrEnum):
    """Whether a user's copy is in use."""

    ACTIVE = "active"
    REVOKED = "revoked"


class User(NamedTuple):
    """One user. `id` counts from 1 in order of registration; `created` is UTC, ISO 8601."""

    id: int
    name: str
    code: Bool[np.ndarray, " k"]
    created: str
    status: Status
    note: str


class Registry(NamedTuple):
    """The users in `store`, with codes of `bits` bits, each message bit `repeats` times in a row.

    `assign(seed)` is the function that gives new users their codes (codebook.py). Rows count from 0 in order
    of registration. Any number of processes may read and add at once. Besides their own errors all methods
    raise those of the store: TamperedDeployment, and OSError for a full disk and the like.
    """

    store: Store
    bits: int
    repeats: int
    assign: Callable[[int | None], Assign]

    def add(
        self,
        names: Sequence[str],
        *,
        note: str | Sequence[str] = "",
        seed: int | None = None,
        codes: Packed | None = None,
    ) -> list[User]:
        """Register new users in this order, all or none, and return them. As `register`."""
        numbers = self.register(names, note=note, seed=seed, codes=codes)
        with self.store.reading() as connection:
            found = (self.store.numbered(connection, number) for number in numbers)
            return [self._user(row) for row in found if row is not None]

    def register(
        self,
        names: Sequence[str],
        *,
        note: str | Sequence[str] = "",
        seed: int | None = None,
        codes: Packed | None = None,
    ) -> range:
        """Register any number of new users in this order, all or none, and return their numbers.

        `note`: one for all or one each; `seed`: of the assigned codes; `codes`: packed codes [n bytes] that
        are used instead. ValueError for a name that is taken, given twice or not a name, for codes that are
        of another width or not all different, or when none are left.
        """
        wanted = all_checked(names)
        notes = repeat(note, len(wanted)) if isinstance(note, str) else note
        with self.store.writing() as connection:
            refuse(self.store.taken(connection, wanted))
            first, created = self.store.count(connection) + 1, now()
            if codes is None:
                codes = self._new_codes(connection, first, len(wanted), seed)
            self._check_codes(codes, len(wanted))
            numbers = range(first, first + len(wanted))
            rows = (
                Row(number, name, code.tobytes(), created, Status.ACTIVE.value, said)
                for number, name, code, said in zip(numbers, wanted, codes, notes, strict=True)
            )
            digest = self.store.insert(connection, rows, count=len(wanted))
            if wanted:
                subject = {"first": first, "count": len(wanted), "sha256": digest}
                self.store.chain.append(connection, "add", subject)
        return numbers

    def users(self) -> list[User]:
        """All users, active and revoked, in order of registration. For many of them: `stream`."""
        return list(self.stream())

    def stream(self) -> Iterator[User]:
        """All users in order of registration; that none is missing is verified after the last."""
        with self.store.reading() as connection:
            yield from map(self._user, self.store.stream(connection))

    def codes(self) -> tuple[list[str], CodeBook]:
        """Names and codes [n k] of all users, active and revoked, in order of registration."""
        with self.store.reading() as connection:
            kept = [(row.name, self._wide(row).code) for row in self.store.stream(connection)]
        packed = np.frombuffer(b"".join(code for _, code in kept), dtype=np.uint8).reshape(-1, self._width)
        return [name for name, _ in kept], unpack(packed, bits=self.bits)

    def packed(self) -> Packed:
        """The packed codes [n bytes] of all users, active and revoked, in order of registration."""
        with self.store.reading() as connection:
            return self._packed(connection)

    def count(self) -> int:
        """How many users there are, active and revoked."""
        with self.store.reading() as connection:
            return self.store.count(connection)

    def user(self, name: str) -> User:
        """The user of this name. ValueError for an unknown name."""
        with self.store.reading() as connection:
            return self._user(self._named(connection, name))

    def name_of(self, row: int) -> str:
        """The name of the user in this row, from 0. ValueError for a row that there is not."""
        with self.store.reading() as connection:
            found = self.store.numbered(connection, row + 1)
            if found is None:
                raise ValueError(f"no user in row {row}: expected 0 … {self.store.count(connection) - 1}")
        return found.name

    def set_status(self, name: str, status: Status, *, note: str) -> User:
        """Revoke or reinstate a user, with a note that says why. ValueError for an unknown name."""
        action = "revoke" if status is Status.REVOKED else "reinstate"
        with self.store.writing() as connection:
            old = self._named(connection, name)
            new = old._replace(status=status.value, note=note)
            self.store.update(connection, old, new)
            self.store.chain.append(connection, action, {"user": old.id, "name": old.name, "note": note})
        return self._user(new)

    def record(self, action: str, subject: Mapping[str, Any]) -> Entry:
        """Log what changes no user, such as an export or an attribution; `subject` becomes JSON."""
        with self.store.writing() as connection:
            return self.store.chain.append(connection, action, subject)

    def audit(self) -> Iterator[Entry]:
        """The entries of the audit log in order, as stored: `verify_audit` verifies them."""
        with self.store.reading() as connection:
            yield from self.store.chain.entries(connection)

    def verify_audit(self) -> Head:
        """Verify the audit log. TamperedDeployment names the first broken entry."""
        with self.store.reading() as connection:
            return self.store.chain.verify(connection)

    def check(self) -> None:
        """Compare the seal with the last user and the last entry: what opening a deployment does."""
        with self.store.reading() as connection:
            self.store.check_ends(connection)

    def verify(self) -> None:
        """Check every page, every row and every entry of the file."""
        with self.store.reading() as connection:
            database.check_pages(self.store.path, connection)
            self._packed(connection)
            self.store.chain.verify(connection)

    def _packed(self, connection: sqlite3.Connection) -> Packed:
        return self._joined(self._wide(row) for row in self.store.stream(connection))

    def _joined(self, rows: Iterable[Row]) -> Packed:
        joined = b"".join(row.code for row in rows)
        return np.frombuffer(joined, dtype=np.uint8).reshape(-1, self._width)

    def _wide(self, row: Row) -> Row:
        if len(row.code) != self._width:
            fault = f"the code of {row.name!r} has {len(row.code)} bytes, expected {self._width}"
            raise TamperedDeployment(self.store.path, fault)
        return row

    def _user(self, row: Row) -> User:
        (code,) = unpack(self._joined([self._wide(row)]), bits=self.bits)
        return User(row.id, row.name, code, row.created, Status(row.status), row.note)

    def _named(self, connection: sqlite3.Connection, name: str) -> Row:
        found = self.store.named(connection, unicodedata.normalize("NFC", name))
        if found is None:
            count = self.store.count(connection)
            raise ValueError(f"no user {name!r} among the {count}: see `latentfp users list`")
        return found

    def _new_codes(self, connection: sqlite3.Connection, first: int, count: int, seed: int | None) -> Packed:
        if count == 0:
            return np.zeros((0, self._width), dtype=np.uint8)
        return self.assign(seed)(first, count, lambda: self._packed(connection))

    def _check_codes(self, codes: Packed, count: int) -> None:
        if codes.shape != (count, self._width):
            expected = f"{(count, self._width)}: {self.bits} bits a user"
            raise ValueError(f"got packed codes of shape {codes.shape}, expected {expected}")
        spare = 8 * self._width - self.bits
        if spare and int.from_bytes(np.bitwise_or.reduce(codes, axis=0).tobytes()) % 2**spare:
            raise ValueError(f"got codes with ones beyond their {self.bits} bits, expected zeros there")
        if len(np.unique(codes.view(f"V{self._width}"))) < count:
            raise ValueError("got one code twice, expected another for every user")

    @property
    def _width(self) -> int:
        return 8 * -(-self.bits // 64)
