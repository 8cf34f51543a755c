"""Users are added all or none, far from all others, by any number of processes."""

import datetime
import os
import signal
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest

from latentfp.deployment.deployment import create, open_deployment, open_registry
from latentfp.deployment.registry import Status


@pytest.fixture
def registry(tmp_path, settings):
    return create(tmp_path / "deployment", **settings).registry


def names_of(registry):
    return [user.name for user in registry.users()]


def test_users_and_codes(registry):
    added = registry.add(["alice", "Bob", "Ünal Ö", "用户 4"], note="first")
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
    np.testing.assert_array_equal(codes, [user.code for user in added])
    np.testing.assert_array_equal(codes, [user.code for user in users])


def test_no_users_yet(registry):
    names, codes = registry.codes()
    assert names == []
    assert codes.shape == (0, 16)
    assert registry.add([]) == []


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
    """Balanced codes of 4 bits come in pairs of opposites, the only ones 4 bits apart."""
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
        ("a\nb", "only printable characters"),
        ("a\x00b", "only printable characters"),
        ("\x1b[31m", "only printable characters"),
        ("\udcff", "only printable characters"),
        ("\u202eevil", "only printable characters"),
        (" a", "no space at its ends"),
        ("a ", "no space at its ends"),
        ("a/b", "no / and no"),
        ("a\\b", "no / and no"),
        ("..", "no . or - at its start"),
        (".hidden", "no . or - at its start"),
        ("--help", "no . or - at its start"),
    ],
)
def test_bad_names(name, rule, registry):
    with pytest.raises(ValueError, match=f"is no name for a user, expected .*{rule}") as caught:
        registry.add([name])
    assert str(caught.value).isprintable()


def test_one_name_in_two_spellings_of_unicode_is_one_name(registry):
    registry.add(["Ren\u00e9"])
    with pytest.raises(ValueError, match="registered already"):
        registry.add(["Rene\u0301"])
    registry.add(["Ame\u0301lie"])
    assert names_of(registry) == ["Ren\u00e9", "Am\u00e9lie"]


def test_status_and_note_change_and_nothing_else(registry):
    alice, _ = registry.add(["alice", "bob"])
    revoked = registry.set_status("alice", Status.REVOKED, note="contract ended")
    users = registry.users()
    assert (users[0].status, users[0].note) == (Status.REVOKED, "contract ended")
    assert users[1].status is Status.ACTIVE
    assert (revoked.name, revoked.created, revoked.id) == (alice.name, alice.created, alice.id)
    np.testing.assert_array_equal(users[0].code, alice.code)
    registry.verify()
    registry.set_status("alice", Status.ACTIVE, note="")
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
    added = registry.register([f"user {i}" for i in range(len(codes))], codes=codes)
    assert added == range(3, 3 + len(codes))
    np.testing.assert_array_equal(registry.packed(), np.concatenate([before, codes]))

    def unread(*_):
        pytest.fail("all rows were read")

    monkeypatch.setattr(type(registry.store), "stream", unread)
    assert registry.count() == 2 + len(codes)
    assert registry.user("user 17").id == 20
    assert registry.name_of(19) == "user 17"
    open_registry(folder)
    open_deployment(folder)
    with pytest.raises(ValueError, match=f"no user in row {2 + len(codes)}: expected 0 … {1 + len(codes)}"):
        registry.name_of(2 + len(codes))
