"""Merkle trees: one hash that stands for many values, and proofs that one of them is among these.

Commitments (`commitment`, `proof`, `proved`) are the binary trees of RFC 6962, section 2.1, over any bytes:

    leaf    SHA-256(0x00 value)
    node    SHA-256(0x01 left right), of which the left part is the largest power of two that leaves a rest

The registry keeps a tree over the digests of its rows in a table, so that one row is verified and changed
without reading the others. Its nodes have up to FAN children, the digests of rows at level 1:

    node    SHA-256(0x02 level children)
    root    SHA-256 of the deployment's identity, the number of rows and the top node, as a JSON list
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence

FAN = 256
DIGEST = 32  # bytes
SCHEMA = """CREATE TABLE tree (
    level INTEGER, number INTEGER, hash BLOB NOT NULL, PRIMARY KEY (level, number)
) WITHOUT ROWID"""


class BrokenTree(ValueError):
    """Rows or nodes are not those of which the root was made."""


def commitment(values: Sequence[bytes]) -> bytes:
    """The root of values; of none, the hash of nothing."""
    return _binary_root([_leaf(value) for value in values]) if values else hashlib.sha256().digest()


def proof(values: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes that lead from the value at `index` to the `commitment`, from the leaf up."""
    return _path([_leaf(value) for value in values], index)


def proved(value: bytes, index: int, count: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether a value is the one at `index` of the `count` of which `root` is the commitment."""
    if not 0 <= index < count:
        return False
    found, last, rest = _leaf(value), count - 1, list(path)
    while last:
        if index % 2 or index < last:
            if not rest:
                return False
            other = rest.pop(0)
            found = _node(other, found) if index % 2 else _node(found, other)
        index, last = index // 2, last // 2
    return not rest and found == root


def opened_code(identity: str, number: int, name: str, code: bytes, salt: bytes) -> bytes:
    """The value that commits to a user's code: deployment, user's number and name, packed code and salt, as
    JSON."""
    return json.dumps([identity, number, name, code.hex(), salt.hex()], separators=(",", ":")).encode()


def _leaf(value: bytes) -> bytes:
    return hashlib.sha256(b"\0" + value).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _paired(hashes: list[bytes]) -> list[bytes]:
    """The level above: neighbours joined, a last one without a neighbour as it is."""
    pairs = [_node(*hashes[at : at + 2]) for at in range(0, len(hashes) - 1, 2)]
    return pairs + hashes[len(hashes) // 2 * 2 :]


def _binary_root(hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        hashes = _paired(hashes)
    return hashes[0]


def _path(hashes: list[bytes], index: int) -> list[bytes]:
    path = []
    while len(hashes) > 1:
        if index ^ 1 < len(hashes):
            path.append(hashes[index ^ 1])
        hashes, index = _paired(hashes), index // 2
    return path


def empty_root(identity: str) -> bytes:
    """The root of no rows."""
    return _root(identity, 0, b"")


def root_of(identity: str, digests: bytes) -> bytes:
    """The root of all rows, from their digests one after the other."""
    count, level = len(digests) // DIGEST, 0
    while level == 0 or len(digests) > DIGEST:
        level += 1
        width = FAN * DIGEST
        digests = b"".join(_inner(level, digests[at : at + width]) for at in range(0, len(digests), width))
    return _root(identity, count, digests)


def update(connection: sqlite3.Connection, identity: str, rows: range, users: int) -> bytes:
    """Compute the nodes above these rows, by number from 1, anew; the root of all `users`."""
    if users == 0:
        return empty_root(identity)
    top, level = b"", 0
    while level == 0 or FAN**level < users:
        level += 1
        for number in range((rows[0] - 1) // FAN**level, (rows[-1] - 1) // FAN**level + 1):
            top = _inner(level, b"".join(_children(connection, level, number, users)))
            connection.execute("INSERT OR REPLACE INTO tree VALUES (?, ?, ?)", [level, number, top])
    return _root(identity, users, top)


def root_through(connection: sqlite3.Connection, identity: str, row: int, digest: bytes, users: int) -> bytes:
    """The root that follows from the digest of one row and the nodes beside its way to the top.

    BrokenTree where the row is not where it should be.
    """
    found, place, level = digest, row - 1, 0
    while level == 0 or FAN**level < users:
        level += 1
        children = _children(connection, level, place // FAN, users)
        if children[place % FAN] != found:
            raise BrokenTree(f"found another hash at level {level - 1} of the tree above row {row}")
        found, place = _inner(level, b"".join(children)), place // FAN
    return _root(identity, users, found)


def _children(connection: sqlite3.Connection, level: int, number: int, users: int) -> list[bytes]:
    below = -(-users // FAN ** (level - 1))  # so many are there at the level below
    first, last = number * FAN, min((number + 1) * FAN, below) - 1
    if level == 1:
        query, given = "SELECT digest FROM users WHERE id BETWEEN ? AND ? ORDER BY id", [first + 1, last + 1]
    else:
        query = "SELECT hash FROM tree WHERE level = ? AND number BETWEEN ? AND ? ORDER BY number"
        given = [level - 1, first, last]
    return _checked((found for (found,) in connection.execute(query, given)), last - first + 1)


def _checked(hashes: Iterable[object], count: int) -> list[bytes]:
    found = [it for it in hashes if isinstance(it, bytes) and len(it) == DIGEST]
    if len(found) != count:
        raise BrokenTree(f"found {len(found)} hashes in the tree of the rows where {count} should be")
    return found


def _inner(level: int, children: bytes) -> bytes:
    return hashlib.sha256(b"\2" + bytes([level]) + children).digest()


def _root(identity: str, users: int, top: bytes) -> bytes:
    return hashlib.sha256(json.dumps([identity, users, top.hex()]).encode()).digest()
