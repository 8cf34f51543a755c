"""Users are added all or none, far from all others, by any number of processes.

What is changed in their file behind its back is found; what fails around it is said in one line.
"""

import datetime
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import combinations

import numpy as np
import pytest

from latentfp.choices import Status
from latentfp.deployment import registry as registry_module
from latentfp.deployment.deployment import create, open_deployment, open_registry
from latentfp.deployment.manifest import TamperedDeployment
from latentfp.fingerprint.codes import pack


@pytest.fixture
def registry(tmp_path, settings):
    return create(tmp_path / "deployment", **settings).registry


def names_of(registry):
    return [user.name for user in registry.users()]


def test_users_and_codes(registry):
    assert registry.add(["alice", "Bob", "Ünal Ö", "用户 4"], note="first") == range(1, 5)
    users = registry.users()
    assert [user.name for user in users] == ["alice", "Bob", "Ünal Ö", "用户 4"]
    assert [user.id for user in users] == [1, 2, 3, 4]
    assert {(user.status, user.note) for user in users} == {(Status.ACTIVE, "first")}
    for user in users:
        age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(user.created)
        assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=5)
    names, codes = registry.codes()
    assert names == names_of(registry)
    assert codes.shape == (4, 16)
    assert codes.dtype == bool
    np.testing.assert_array_equal(codes, [user.code for user in users])


def test_no_users_yet(registry):
    names, codes = registry.codes()
    assert names == []
    assert codes.shape == (0, 16)
    assert registry.add([]) == range(1, 1)


def test_codes_keep_their_distance_also_from_revoked_users(registry):
    registry.add(["alice", "bob"])
    registry.set_status("alice", Status.REVOKED, note="left")
    for i in range(6):
        registry.add([f"user {i}", f"user {i}b"])
    _, codes = registry.codes()
    assert min(int((a != b).sum()) for a, b in combinations(codes, 2)) >= 4


def test_codes_repeat_the_bits_of_messages(tmp_path, settings):
    made = create(tmp_path / "deployment", **{**settings, "repeats": 2, "min_distance": 3})
    made.registry.add(["alice", "bob"])
    open_deployment(made.path).registry.add(["carol"])
    _, codes = open_deployment(made.path).registry.codes()
    np.testing.assert_array_equal(codes[:, ::2], codes[:, 1::2])
    assert min(int((a != b).sum()) for a, b in combinations(codes, 2)) >= 4


def test_supplied_codes_repeat_bits_too(tmp_path, settings):
    made = create(tmp_path / "deployment", **{**settings, "repeats": 2, "min_distance": 3})
    once = pack(np.array([[True, False] * 8]))
    with pytest.raises(ValueError, match="do not come 2 times in a row"):
        made.registry.add(["alice"], codes=once)
    made.registry.add(["alice"], codes=pack(np.array([[True, True, False, False] * 4])))
    assert made.registry.count() == 1


def test_a_seed_repeats_codes_and_no_seed_does_not(tmp_path, settings):
    seeded = [create(tmp_path / name, **settings).registry for name in ("a", "b")]
    for registry in seeded:
        registry.add(["alice", "bob"], seed=5)
    np.testing.assert_array_equal(seeded[0].codes()[1], seeded[1].codes()[1])
    drawn = [create(tmp_path / name, **settings).registry for name in ("c", "d")]
    for registry in drawn:
        registry.add([f"user {i}" for i in range(8)])
    # 8 codes of 8 ones among 16 bits: equal by chance once in 12870^8
    assert (drawn[0].codes()[1] != drawn[1].codes()[1]).any()


def test_all_or_none(registry):
    registry.add(["alice"])
    before = registry.users()
    for names, message in (
        (["bob", "alice"], r"\['alice'\] are registered already or given twice"),
        (["bob", "carol", "bob"], r"\['bob'\] are registered already or given twice"),
        (["bob", ""], "'' is no name for a user, expected 1 … 64 characters"),
    ):
        with pytest.raises(ValueError, match=message):
            registry.add(names)
    assert [user.name for user in registry.users()] == [user.name for user in before]
    registry.verify()


def test_no_codes_left(tmp_path, settings):
    """Codes of 4 bits come in pairs of opposites, the only ones 4 bits apart."""
    registry = create(tmp_path / "small", **{**settings, "bits": 4, "min_distance": 4}).registry
    registry.add(["alice"])
    with pytest.raises(ValueError, match="only 1 of 2 codes found"):
        registry.add(["bob", "carol"])
    assert names_of(registry) == ["alice"]
    registry.add(["bob"])


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "1 … 64 characters"),
        ("a" * 65, "1 … 64 characters"),
        ("\U0001f600" * 49, "at most 192 bytes in UTF-8"),
        ("a\nb", "only printable characters"),
        ("a\x00b", "only printable characters"),
        ("\x1b[31m", "only printable characters"),
        ("\udcff", "only printable characters"),
        ("\u202eevil", "only printable characters"),
        ("none", "none of none, nobody"),
        ("n\u043ene", "none of none, nobody"),  # a Cyrillic о
        (" a", "no space at its ends"),
        ("a ", "no space at its ends"),
        ("a/b", "no / and no"),
        ("a\\b", "no / and no"),
        ("..", "no . or - at its start"),
        (".hidden", "no . or - at its start"),
        ("--help", "no . or - at its start"),
        ("None", "none of none, nobody"),
        ("inconclusive", "none of none, nobody"),
    ],
)
def test_bad_names(name, rule, registry):
    with pytest.raises(ValueError, match=f"is no name for a user, expected .*{rule}") as caught:
        registry.add([name])
    assert str(caught.value).isprintable()


def test_the_longest_names_are_names_of_files(registry, tmp_path):
    """With what commands put behind them."""
    for name in ("a" * 64, "用" * 64, "\U0001f600" * 48):
        registry.add([name])
        (tmp_path / f"{name}-{2**64 - 1}-{10**9 - 1}.webp").touch()


def test_one_name_in_two_spellings_of_unicode_is_one_name(registry):
    registry.add(["Ren\u00e9"])
    with pytest.raises(ValueError, match="registered already"):
        registry.add(["Rene\u0301"])
    registry.add(["Ame\u0301lie"])
    assert names_of(registry) == ["Ren\u00e9", "Am\u00e9lie"]


def test_notes_are_history(registry):
    """A change without a note forgets none, and one with a note adds to them."""
    registry.add(["alice"], note="of Berlin")
    registry.set_status("alice", Status.REVOKED)
    assert registry.user("alice").note == "of Berlin"
    registry.set_status("alice", Status.ACTIVE, note="paid")
    registry.set_status("alice", Status.REVOKED, note="left")
    assert registry.user("alice").note.split("\n") == ["of Berlin", "paid", "left"]
    logged = [json.loads(entry.subject) for entry in registry.audit()]
    assert [subject["note"] for subject in logged[1:]] == ["", "paid", "left"]
    registry.verify()


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_has_64_bits(registry, seed):
    with pytest.raises(ValueError, match=rf"got the seed {seed}, expected 0 … 2\^64 - 1"):
        registry.add(["alice"], seed=seed)
    registry.add(["alice"], seed=2**64 - 1)


def test_status_and_note_change_and_nothing_else(registry):
    registry.add(["alice", "bob"])
    alice = registry.user("alice")
    revoked = registry.set_status("alice", Status.REVOKED, note="contract ended")
    users = registry.users()
    assert (users[0].status, users[0].note) == (Status.REVOKED, "contract ended")
    assert users[1].status is Status.ACTIVE
    assert (revoked.name, revoked.created, revoked.id) == (alice.name, alice.created, alice.id)
    np.testing.assert_array_equal(users[0].code, alice.code)
    registry.verify()
    registry.set_status("alice", Status.ACTIVE)
    assert registry.users()[0].status is Status.ACTIVE
    with pytest.raises(ValueError, match="no user 'eve' among the 2"):
        registry.set_status("eve", Status.REVOKED, note="")


ADDERS = """
import os, sys
from pathlib import Path
from latentfp.deployment.deployment import open_registry

folder, names, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
registry = open_registry(folder)
children = []
for name in names:
    children.append(os.fork())
    if children[-1] == 0:
        for i in range(count):
            registry.add([f"{name} {i}a", f"{name} {i}b"])
            print(f"{name} {i}a", flush=True)
        os._exit(0)
sys.exit(max(os.waitpid(child, 0)[1] for child in children) != 0)
"""


def adders(folder, names, count):
    """One process for each letter of `names`, adding `count` pairs of users and then saying so."""
    command = [sys.executable, "-c", ADDERS, str(folder), names, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.slow
def test_four_processes_add_at_once(folder):
    process = adders(folder, "wxyz", 4)
    process.communicate(timeout=300)
    assert process.returncode == 0
    registry = open_deployment(folder).registry
    names, codes = registry.codes()
    assert names[:2] == ["alice", "bob"]
    assert sorted(names[2:]) == sorted(
        f"{who} {i}{half}" for who in "wxyz" for i in range(4) for half in "ab"
    )
    assert [user.id for user in registry.users()] == list(range(1, 35))
    assert all(names[at + 1] == names[at][:-1] + "b" for at in range(2, 34, 2)), "each pair in one piece"
    assert min(int((a != b).sum()) for a, b in combinations(codes, 2)) >= 4


@pytest.mark.slow
def test_a_killed_process_loses_no_acknowledged_user(folder):
    process = adders(folder, "w", 10_000)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(5)]
    os.killpg(process.pid, signal.SIGKILL)
    acknowledged += process.communicate()[0].splitlines()
    names = names_of(open_deployment(folder).registry)
    assert {*acknowledged} <= {*names}
    assert len(names) % 2 == 0
    open_deployment(folder).registry.add(["carol"])


def test_many_users_at_once(folder, monkeypatch):
    """Codes come in packed; one user is found again without reading the others."""
    registry = open_registry(folder)
    numbers = np.arange(1, 20_001, dtype=np.uint16)
    codes = np.zeros((20_000, 8), np.uint8)
    codes[:, :2] = numbers.view(np.uint8).reshape(-1, 2)
    before = registry.packed()
    codes = codes[~(codes[:, None] == before).all(axis=2).any(axis=1)]
    added = registry.add([f"user {i}" for i in range(len(codes))], codes=codes)
    assert added == range(3, 3 + len(codes))
    np.testing.assert_array_equal(registry.packed(), np.concatenate([before, codes]))

    def unread(*_):
        pytest.fail("all rows were read")

    monkeypatch.setattr(type(registry), "_rows", unread)
    assert registry.count() == 2 + len(codes)
    assert registry.user("user 17").id == 20
    assert registry.user_of(19).name == "user 17"
    open_registry(folder)
    open_deployment(folder)
    with pytest.raises(ValueError, match=f"no user in row {2 + len(codes)}: expected 0 … {1 + len(codes)}"):
        registry.user_of(2 + len(codes))


@pytest.fixture
def two(folder):
    """The two of alice and bob."""
    return open_deployment(folder).registry


@pytest.fixture
def path(two):
    return two.path


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
        assert str(caught.value).startswith(f"{registry.path}: ")
        assert "\n" not in str(caught.value)


def test_settings_of_the_file(path):
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)


def test_works_without_a_write_ahead_log(two, path):
    """As docs/scale.md asks for where processes of several machines write."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    two.add(["eve"])
    two.record("attribute", {"part": 1})
    two.verify()
    assert "eve" in [user.name for user in two.users()]
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
        "SET origin = 'supplied'",
        "SET salt = x'00'",
        "SET digest = x'00'",
        "SET id = 9",
    ],
)
def test_an_edited_row_is_found(change, two, path):
    edit(path, f"UPDATE users {change} WHERE name = 'bob'")
    message = (
        "not a database of users"
        if "x'ff'" in change
        else r"found digest \w+ at user \d ('mallory|'bob')|found 9 users by"
    )
    assert_refused(two, message)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "DELETE FROM users WHERE name = 'bob'",
            "found 1 users (with the root .*|by their last number), expected the sealed 2",
        ),
        ("DELETE FROM users", "found 0 users (with|by)"),
        (
            "INSERT INTO users VALUES (3, 'eve', x'01', '', 'active', '', 'drawn', x'03', x'02')",
            "found digest 02 at user 3 'eve'|found 3 users by",
        ),
        ("UPDATE seal SET users = 3", "expected the sealed 3"),
        ("UPDATE seal SET root = x'00'", "the seal of the users and audit entry 1 differ"),
        ("DELETE FROM seal", "found 0 seals"),
        ("INSERT INTO seal SELECT * FROM seal", "found 2 seals"),
        ("DROP TABLE seal", "not a database of users .no such table: seal"),
        ("DROP TABLE users", "not a database of users .no such table: users"),
        ("ALTER TABLE users DROP COLUMN note", "not a database of users"),
        ("PRAGMA user_version = 2", "found schema version 2, expected 3"),
        ("PRAGMA user_version = 0", "found schema version 0, expected 3"),
    ],
)
def test_other_changes_are_found(statement, message, two, path):
    edit(path, statement)
    assert_refused(two, message)


def test_a_damaged_row_without_a_digest_is_found(two):
    """As a damaged page may give: text for a code, and no digest, which no constraint has seen."""
    with pytest.raises(TamperedDeployment, match="found digest None at user 1 'a', expected None"):
        two._verified(None, (1, "a", "text", "", "active", "", "drawn", b""), None)


def test_swapped_codes_are_found(two, path):
    with closing(sqlite3.connect(path)) as connection:
        (alice,), (bob,) = connection.execute("SELECT code FROM users ORDER BY id")
    swap = "UPDATE users SET code = ? WHERE name = ?"
    edit(path, (swap, (b"-", "alice")), (swap, (alice, "bob")), (swap, (bob, "alice")))
    assert_refused(two, "at user 1 'alice'")


def test_the_users_of_another_deployment_are_found(two, path, tmp_path, settings):
    other = create(tmp_path / "other", **settings)
    shutil.copy(other.registry.path, path)
    assert_refused(two, "the seal of the users and audit entry 0 differ")
    other.registry.add(["alice", "bob"], seed=1)
    shutil.copy(other.registry.path, path)
    assert_refused(two, "found digest|audit entry 1 (broken|is not as it was written)")


def test_an_older_copy_is_not_found(two, path):
    """The limit that the module states: the file as a whole can be set back."""
    older = path.read_bytes()
    two.add(["carol"])
    path.write_bytes(older)
    two.verify()
    assert len(two.users()) == 2


@pytest.mark.parametrize("data", [b"", b"not a database", bytes(8192), b"SQLite format 3\0" + bytes(8176)])
def test_what_is_not_a_database(data, two, path):
    path.write_bytes(data)
    assert_refused(two, "found schema version 0|not a database of users")


def test_no_flipped_bit_changes_a_user_unseen(two, path):
    """Refused, or, where SQLite leaves bytes unused, without effect on any user."""
    data, expected, random = path.read_bytes(), plain(two.users()), np.random.default_rng(8)
    used = [at for at, byte in enumerate(data) if byte]
    refused = 0
    for at in random.choice(used, 150, replace=False):
        flipped = bytearray(data)
        flipped[at] ^= 1 << int(random.integers(8))
        path.write_bytes(bytes(flipped))
        try:
            two.verify()
            assert plain(two.users()) == expected
        except (TamperedDeployment, OSError):
            refused += 1
        for extra in ("-wal", "-shm"):
            path.with_name(path.name + extra).unlink(missing_ok=True)
    assert refused > 75


def test_a_writer_waits_and_then_says_so(two, path, monkeypatch):
    monkeypatch.setattr(registry_module, "BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OSError, match="database is locked; nothing was changed"):
            two.add(["carol"])
        assert len(two.users()) == 2, "readers do not wait"
    two.add(["carol"])


def test_readers_see_one_state(two):
    with two.reading() as connection:
        before = list(two._rows(connection))
        two.add(["carol"])
        assert list(two._rows(connection)) == before
    assert len(two.users()) == 3


def test_a_full_disk_changes_nothing(two, path):
    """A file size limit stands for the full disk: the log cannot grow beyond one page."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=f"{path}: .*; nothing was changed: check the disk"):
            two.add(["carol", "dave"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    two.verify()
    assert [user.name for user in two.users()] == ["alice", "bob"]
    two.add(["carol"])


def test_a_read_only_folder_can_be_read(two, folder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert len(two.users()) == 2
    assert len(list(folder.iterdir())) == 3
    monkeypatch.undo()
    two.path.chmod(0o400)
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(OSError, match="nothing was changed"):
            two.add(["carol"])
    finally:
        if os.getuid() == 0:
            os.seteuid(0)


def test_a_missing_file_is_not_made(two, path):
    path.unlink()
    with pytest.raises(OSError, match="unable to open database file"):
        two.users()
    assert not path.exists()
