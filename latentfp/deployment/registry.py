"""Users and their codes.

Adding is one transaction: all names or none, and new codes keep their distance from the codes of every user
there is, revoked ones too, for their images remain. Codes are drawn from the operating system's entropy,
unless a seed is given: it makes them repeatable for a study, and known to everyone who knows the seed.

What protects the registry, and against what, is said in store.py.
"""

import enum
import secrets
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from latentfp.deployment.manifest import TamperedDeployment, now
from latentfp.deployment.store import Row, Store
from latentfp.fingerprint.codes import CodeBook, draw_codes, pack, unpack

LONGEST_NAME = 64


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
    """The users in `store`; `bits`, `min_distance` and `repeats` of their codes.

    Any number of processes may read and add at once. Besides their own errors all methods raise those of the
    store: TamperedDeployment, and OSError for a full disk and the like.
    """

    store: Store
    bits: int
    min_distance: int
    repeats: int

    def add(self, names: Sequence[str], *, seed: int | None = None, note: str = "") -> list[User]:
        """Register new users in this order, all or none, and return them.

        ValueError for a name that is taken, given twice or not a name, or when no codes are left.
        """
        wanted = [_checked(name) for name in names]
        with self.store.writing() as connection:
            users = self._users(self.store.rows(connection))
            _check_free(wanted, users)
            codes = draw_codes(
                secrets.randbits(128) if seed is None else seed,
                len(wanted),
                bits=self.bits,
                min_distance=self.min_distance,
                existing=self._book(users),
                repeats=self.repeats,
            )
            ids, created = range(len(users) + 1, len(users) + len(wanted) + 1), now()
            added = [
                User(number, name, code, created, Status.ACTIVE, note)
                for number, name, code in zip(ids, wanted, codes, strict=True)
            ]
            self.store.insert(connection, [_row(user) for user in added])
        return added

    def users(self) -> list[User]:
        """All users, active and revoked, in order of registration."""
        with self.store.reading() as connection:
            return self._users(self.store.rows(connection))

    def codes(self) -> tuple[list[str], CodeBook]:
        """Names and codes [n k] of all users, active and revoked, in order of registration."""
        users = self.users()
        return [user.name for user in users], self._book(users)

    def set_status(self, name: str, status: Status, *, note: str) -> User:
        """Revoke or reinstate a user, with a note that says why. ValueError for an unknown name."""
        with self.store.writing() as connection:
            users = {user.name: user for user in self._users(self.store.rows(connection))}
            if name not in users:
                raise ValueError(f"no user {name!r} among the {len(users)}: see `latentfp users list`")
            user = users[name]._replace(status=status, note=note)
            self.store.update(connection, _row(users[name]), _row(user))
        return user

    def verify(self) -> None:
        """Check every page and every row of the file."""
        with self.store.reading() as connection:
            self.store.check_pages(connection)
            self._users(self.store.rows(connection))

    def _users(self, rows: Sequence[Row]) -> list[User]:
        width = pack(np.zeros((1, self.bits), dtype=bool)).shape[1]
        for row in rows:
            if len(row.code) != width:
                fault = f"the code of {row.name!r} has {len(row.code)} bytes, expected {width}"
                raise TamperedDeployment(self.store.path, fault)
        packed = np.frombuffer(b"".join(row.code for row in rows), dtype=np.uint8).reshape(-1, width)
        codes = unpack(packed, bits=self.bits)
        return [
            User(row.id, row.name, code, row.created, Status(row.status), row.note)
            for row, code in zip(rows, codes, strict=True)
        ]

    def _book(self, users: Sequence[User]) -> CodeBook:
        return np.array([user.code for user in users], dtype=bool).reshape(-1, self.bits)


def _row(user: User) -> Row:
    code = pack(user.code[None])[0].tobytes()
    return Row(user.id, user.name, code, user.created, user.status.value, user.note)


def _checked(name: str) -> str:
    """The name in Unicode's normal form C."""
    normal = unicodedata.normalize("NFC", name)
    rules = {
        f"1 … {LONGEST_NAME} characters": 1 <= len(normal) <= LONGEST_NAME,
        "only printable characters": normal.isprintable(),
        "no space at its ends": normal == normal.strip(),
        "no / and no \\": not {"/", "\\"} & {*normal},
        "no . or - at its start": not normal.startswith((".", "-")),
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise ValueError(f"{name!a} is no name for a user, expected {', '.join(broken)}")
    return normal


def _check_free(wanted: Sequence[str], users: Sequence[User]) -> None:
    registered = {user.name for user in users}
    taken = [name for name, times in Counter(wanted).items() if times > 1 or name in registered]
    if taken:
        raise ValueError(f"{taken} are registered already or given twice: choose other names")
