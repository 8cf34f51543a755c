"""What is changed in the users' file behind its back is found; what fails around it is said in one line."""

import os
import resource
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from latentfp.deployment import database
from latentfp.deployment.deployment import create, open_deployment
from latentfp.deployment.manifest import TamperedDeployment


@pytest.fixture
def registry(folder):
    return open_deployment(folder).registry


@pytest.fixture
def path(registry):
    return registry.store.path


def edit(path, *statements):
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(*statement) if isinstance(statement, tuple) else connection.execute(statement)


def plain(users):
    return [user._replace(code=user.code.tolist()) for user in users]


def assert_refused(registry, message):
    for read in (registry.verify, registry.users, registry.codes, lambda: registry.add(["eve"])):
        with pytest.raises(TamperedDeployment, match=message) as caught:
            read()
        assert str(caught.value).startswith(f"{registry.store.path}: ")
        assert "\n" not in str(caught.value)


def test_settings_of_the_file(path):
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_works_without_a_write_ahead_log(registry, path):
    """As docs/scale.md asks for where processes of several machines write."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    registry.add(["eve"])
    registry.record("attribute", {"part": 1})
    registry.verify()
    assert "eve" in [user.name for user in registry.users()]
    assert not path.with_name(f"{path.name}-wal").exists()


@pytest.mark.parametrize(
    "change",
    [
        "SET name = 'mallory'",
        "SET name = CAST(x'ff' AS TEXT)",
        "SET code = x'0000000000000000'",
        "SET code = 'ff00ff0000000000'",
        "SET created = '2020-01-01T00:00:00+00:00'",
        "SET status = 'revoked'",
        "SET note = 'x'",
        "SET digest = x'00'",
        "SET id = 9",
    ],
)
def test_an_edited_row_is_found(change, registry, path):
    edit(path, f"UPDATE users {change} WHERE name = 'bob'")
    message = (
        "not a database of users"
        if "x'ff'" in change
        else r"found digest \w+ at user \d ('mallory|'bob')|found 9 users by"
    )
    assert_refused(registry, message)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "DELETE FROM users WHERE name = 'bob'",
            "found 1 users (of sum .*|by their last number), expected the sealed 2",
        ),
        ("DELETE FROM users", "found 0 users (of sum|by)"),
        (
            "INSERT INTO users VALUES (3, 'eve', x'01', '', 'active', '', x'02')",
            "found digest 02 at user 3 'eve'|found 3 users by",
        ),
        ("UPDATE seal SET users = 3", "expected the sealed 3"),
        ("UPDATE seal SET total = x'00'", "of sum 00|the seal of the users and audit entry 1 differ"),
        ("DELETE FROM seal", "found 0 seals"),
        ("INSERT INTO seal SELECT * FROM seal", "found 2 seals"),
        ("DROP TABLE seal", "not a database of users .no such table: seal"),
        ("DROP TABLE users", "not a database of users .no such table: users"),
        ("ALTER TABLE users DROP COLUMN note", "not a database of users"),
        ("PRAGMA user_version = 3", "found schema version 3, expected 1 to 2"),
        ("PRAGMA user_version = 0", "found schema version 0, expected 1 to 2"),
    ],
)
def test_other_changes_are_found(statement, message, registry, path):
    edit(path, statement)
    assert_refused(registry, message)


def test_swapped_codes_are_found(registry, path):
    with closing(sqlite3.connect(path)) as connection:
        (alice,), (bob,) = connection.execute("SELECT code FROM users ORDER BY id")
    swap = "UPDATE users SET code = ? WHERE name = ?"
    edit(path, (swap, (b"-", "alice")), (swap, (alice, "bob")), (swap, (bob, "alice")))
    assert_refused(registry, "at user 1 'alice'")


def test_the_users_of_another_deployment_are_found(registry, path, tmp_path, settings):
    other = create(tmp_path / "other", **settings)
    shutil.copy(other.registry.store.path, path)
    assert_refused(registry, "found 0 users of sum|the seal of the users and audit entry 0 differ")
    other.registry.add(["alice", "bob"], seed=1)
    shutil.copy(other.registry.store.path, path)
    assert_refused(registry, "at user 1 'alice'")


def test_an_older_copy_is_not_found(registry, path):
    """The limit that the module states: the file as a whole can be set back."""
    older = path.read_bytes()
    registry.add(["carol"])
    path.write_bytes(older)
    registry.verify()
    assert len(registry.users()) == 2


@pytest.mark.parametrize("data", [b"", b"not a database", bytes(8192), b"SQLite format 3\0" + bytes(8176)])
def test_what_is_not_a_database(data, registry, path):
    path.write_bytes(data)
    assert_refused(registry, "found schema version 0|not a database of users")


def test_no_flipped_bit_changes_a_user_unseen(registry, path):
    """Refused, or, where SQLite leaves bytes unused, without effect on any user."""
    data, expected, random = path.read_bytes(), plain(registry.users()), np.random.default_rng(8)
    used = [at for at, byte in enumerate(data) if byte]
    refused = 0
    for at in random.choice(used, 150, replace=False):
        flipped = bytearray(data)
        flipped[at] ^= 1 << int(random.integers(8))
        path.write_bytes(bytes(flipped))
        try:
            registry.verify()
            assert plain(registry.users()) == expected
        except (TamperedDeployment, OSError):
            refused += 1
        for extra in ("-wal", "-shm"):
            path.with_name(path.name + extra).unlink(missing_ok=True)
    assert refused > 75


def test_a_writer_waits_and_then_says_so(registry, path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OSError, match="database is locked; nothing was changed"):
            registry.add(["carol"])
        assert len(registry.users()) == 2, "readers do not wait"
    registry.add(["carol"])


def test_readers_see_one_state(registry):
    with registry.store.reading() as connection:
        before = registry.store.rows(connection)
        registry.add(["carol"])
        assert registry.store.rows(connection) == before
    assert len(registry.users()) == 3


def test_a_full_disk_changes_nothing(registry, path):
    """A file size limit stands for the full disk: the log cannot grow beyond one page."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=f"{path}: .*; nothing was changed: check the disk"):
            registry.add(["carol", "dave"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    registry.verify()
    assert [user.name for user in registry.users()] == ["alice", "bob"]
    registry.add(["carol"])


def test_a_read_only_folder_can_be_read(registry, folder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert len(registry.users()) == 2
    assert len(list(folder.iterdir())) == 3
    monkeypatch.undo()
    registry.store.path.chmod(0o400)
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(OSError, match="nothing was changed"):
            registry.add(["carol"])
    finally:
        if os.getuid() == 0:
            os.seteuid(0)


def test_a_missing_file_is_not_made(registry, path):
    path.unlink()
    with pytest.raises(OSError, match="unable to open database file"):
        registry.users()
    assert not path.exists()
