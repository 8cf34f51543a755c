"""Trees of hashes against their definition, and every way to prove what is not so."""

import hashlib
import sqlite3

import numpy as np
import pytest

from latentfp.deployment import merkle

IDENTITY = "ab" * 16


def defined(values):
    """The root as RFC 6962, section 2.1, defines it."""
    if len(values) == 1:
        return hashlib.sha256(b"\0" + values[0]).digest()
    split = 1 << (len(values) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + defined(values[:split]) + defined(values[split:])).digest()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 100])
def test_commitments(count):
    values = [bytes([i]) * (i % 3) + b"x" for i in range(count)]
    root = merkle.commitment(values)
    assert root == defined(values)
    for index in range(count):
        path = merkle.proof(values, index)
        assert merkle.proved(values[index], index, count, path, root)
        assert not merkle.proved(b"another", index, count, path, root)
        assert not merkle.proved(values[index], index, count, [*path, root], root)
        assert not merkle.proved(values[index], index, count, path[1:], root) or not path
        assert not merkle.proved(values[index], index + count, count, path, root)
        others = set(range(count)) - {index}
        assert not any(merkle.proved(values[index], other, count, path, root) for other in others)


def test_inner_nodes_are_no_values():
    """Second preimages: the hashes of two leaves do not pass as one."""
    values = [b"a", b"b"]
    leaves = b"".join(hashlib.sha256(b"\0" + value).digest() for value in values)
    assert merkle.commitment([leaves]) != merkle.commitment(values)


def test_of_nothing():
    assert merkle.commitment([]) == hashlib.sha256().digest()
    assert not merkle.proved(b"", 0, 0, [], merkle.commitment([]))


class Rows:
    """A table of digests with the tree above them."""

    def __init__(self):
        self.connection = sqlite3.connect(":memory:")
        self.connection.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, digest BLOB)")
        self.connection.execute(merkle.SCHEMA)
        self.digests: list[bytes] = []

    def add(self, count):
        first = len(self.digests) + 1
        self.digests += [hashlib.sha256(f"{first + i}".encode()).digest() for i in range(count)]
        rows = zip(range(first, first + count), self.digests[first - 1 :], strict=True)
        self.connection.executemany("INSERT INTO users VALUES (?, ?)", rows)
        return merkle.update(self.connection, IDENTITY, range(first, first + count), len(self.digests))

    def through(self, row, digest=None):
        given = self.digests[row - 1] if digest is None else digest
        return merkle.root_through(self.connection, IDENTITY, row, given, len(self.digests))


def test_the_tree_of_rows_grows():
    rows = Rows()
    for count in (1, 1, 254, 1, 300, 65_000, 200):
        root = rows.add(count)
        assert root == merkle.root_of(IDENTITY, b"".join(rows.digests)), len(rows.digests)
        for row in (1, len(rows.digests) // 2 + 1, len(rows.digests)):
            assert rows.through(row) == root


def test_a_changed_row_changes_the_root():
    rows = Rows()
    rows.add(1000)
    rows.digests[700] = bytes(32)
    rows.connection.execute("UPDATE users SET digest = ? WHERE id = 701", [bytes(32)])
    with pytest.raises(merkle.BrokenTree, match="at level 1 of the tree above row 701"):
        rows.through(701)
    with pytest.raises(merkle.BrokenTree, match="at level 1 of the tree above row 700"):
        rows.through(700)
    after = merkle.update(rows.connection, IDENTITY, range(701, 702), 1000)
    assert after == rows.through(1) == merkle.root_of(IDENTITY, b"".join(rows.digests))


def test_a_row_elsewhere_is_found():
    rows = Rows()
    rows.add(600)
    for row in np.random.default_rng(1).integers(2, 601, 20).tolist():
        with pytest.raises(merkle.BrokenTree, match=f"at level 0 of the tree above row {row}"):
            rows.through(row, rows.digests[0])


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM users WHERE id = 300",
        "UPDATE users SET digest = 'text' WHERE id = 300",
        "UPDATE users SET digest = x'00' WHERE id = 300",
        "DELETE FROM tree WHERE level = 1 AND number = 0",
    ],
)
def test_a_gap_is_found(statement):
    rows = Rows()
    rows.add(600)
    rows.connection.execute(statement)
    with pytest.raises(merkle.BrokenTree, match="where"):
        rows.through(299)


def test_roots_belong_to_a_deployment_and_a_number_of_rows():
    digest = bytes(32)
    roots = {
        merkle.root_of(IDENTITY, digest),
        merkle.root_of("cd" * 16, digest),
        merkle.root_of(IDENTITY, digest * 2),
        merkle.empty_root(IDENTITY),
        merkle.empty_root("cd" * 16),
    }
    assert len(roots) == 5
