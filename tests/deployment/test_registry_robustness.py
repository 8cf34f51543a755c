"""What happens around the registry (kills, full disks, other processes, damage) loses no acknowledged user.

Real processes: tests/registry_processes.py. A file system of its own, small or read-only, is a tmpfs in an
unprivileged mount namespace (unshare, Linux); where that cannot be had, those tests are skipped, and a limit
on the size of files stands for the full disk.
"""

import functools
import json
import subprocess
import sys

import numpy as np
import pytest
import registry_processes
from linear_space import write_deployment

from latentfp.choices import Status
from latentfp.deployment.deployment import open_registry
from latentfp.deployment.manifest import TamperedDeployment
from latentfp.fingerprint.latent_copy import load

pytestmark = pytest.mark.slow
KILLS, PROCESSES = 180, 8
EXPORT_KILLS = 20
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-e", "-c"]
SCRIPT = f"{sys.executable} {registry_processes.__file__}"


def run(*command):
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=280, check=False)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    return json.loads(ended.stdout)


def play(part, *arguments):
    """What a part of registry_processes answers."""
    return run(sys.executable, registry_processes.__file__, part, *arguments)


@functools.cache
def own_file_systems():
    try:
        mounted = subprocess.run([*NAMESPACE, "mount -t tmpfs -o size=1m none /mnt"], capture_output=True)
    except FileNotFoundError:
        return False
    return mounted.returncode == 0


def own(test):
    return pytest.mark.skipif(not own_file_systems(), reason="no tmpfs can be mounted in a namespace")(test)


def said(folder):
    """The whole lines that processes wrote; what a kill cut off was not acknowledged."""
    texts = [path.read_text() for path in sorted(folder.glob("said-*"))]
    return [line.split() for text in texts for line in text.split("\n")[:-1]]


def test_180_kills_of_8_processes_lose_nothing_that_was_acknowledged(tmp_path):
    registry = registry_processes.registry_of(tmp_path / "users.sqlite")
    registry.create()
    assert play("adding", tmp_path, KILLS, PROCESSES) == {"killed": KILLS}
    registry.verify()
    users, lines = {user.name: user for user in registry.users()}, said(tmp_path)
    assert sum(line[0] == "add" for line in lines) > 50, "the kills left time to work"
    assert len(users) % registry_processes.BATCH == 0, "each addition is there as a whole or not at all"
    assert [user.id for user in users.values()] == list(range(1, len(users) + 1))
    entries = list(registry.audit())
    assert registry.verify_audit().entries == len(entries)
    counted = [json.loads(entry.subject)["count"] for entry in entries if entry.action == "add"]
    assert sum(counted) == len(users), "every addition is logged, and nothing else as one"
    for what, *about in lines:
        if what == "add":
            stem = about[0].removesuffix(".0")
            assert all(f"{stem}.{j}" in users for j in range(registry_processes.BATCH))
        elif what == "revoke":
            assert users[about[0]].status is Status.REVOKED
        else:
            entry = entries[int(about[0]) - 1]
            assert (entry.action, json.loads(entry.subject)["name"]) == ("export", about[1])


def test_20_kills_of_exports_leave_no_unlogged_and_no_half_copy(tmp_path):
    deployment = write_deployment(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    assert play("exporting", deployment, out, EXPORT_KILLS, 4) == {"killed": EXPORT_KILLS}
    registry = open_registry(deployment)
    registry.verify()
    logged = {json.loads(entry.subject).get("file") for entry in registry.audit() if entry.action == "export"}
    written = {path.name for path in out.glob("copy-*")}
    acknowledged = {name for (name,) in said(out)}
    assert acknowledged
    assert acknowledged <= written <= logged
    for name in written:
        load(out / name)


@pytest.mark.parametrize("limit", [2**20, 5 * 2**20])
def test_a_limit_of_the_size_of_files(tmp_path, limit):
    """The first limit is met by the write-ahead log, the second by the file of users too."""
    assert_kept(play("filling", tmp_path, limit), tmp_path)


@own
@pytest.mark.parametrize("size", ["2m", "7m"])
def test_a_full_disk(tmp_path, size):
    mounted = f"mount -t tmpfs -o size={size} none {tmp_path}; {SCRIPT} filling {tmp_path} 0"
    assert_kept(run(*NAMESPACE, mounted), tmp_path)


def assert_kept(answer, folder):
    assert answer["kept"]
    assert answer["added"] >= 500
    assert answer["after"] == answer["added"] + 1
    assert answer["fault"].startswith(f"{folder / 'users.sqlite'}: ")
    assert answer["fault"].endswith("nothing was changed: check the disk, the permissions and other users")


@own
def test_a_read_only_file_system(tmp_path):
    mount = f"mount -t tmpfs -o size=8m none {tmp_path}; {SCRIPT} making {tmp_path}"
    answer = run(*NAMESPACE, f"{mount}; mount -o remount,ro {tmp_path}; {SCRIPT} reading {tmp_path}")
    assert (answer["names"], answer["entries"]) == (["alice", "bob"], 1)
    assert len(answer["faults"]) == 2
    assert all("nothing was changed: check the disk, the permissions" in fault for fault in answer["faults"])


@pytest.mark.parametrize("damage", ["zeros", "noise", "another page"])
def test_no_damaged_page_changes_a_user_unseen(tmp_path, damage):
    registry = registry_processes.registry_of(tmp_path / "users.sqlite")
    registry.create()
    for i in range(4):
        registry.add([f"{i} {j}" for j in range(100)])
    path, names, codes = registry.path, [user.name for user in registry.users()], registry.packed()
    data, noise = path.read_bytes(), np.random.default_rng(3)
    pages = [data[at : at + 4096] for at in range(0, len(data), 4096)]
    assert len(pages) > 10
    for at in range(len(pages)):
        changed = {"zeros": bytes(4096), "noise": noise.bytes(4096), "another page": pages[at - 1]}[damage]
        path.write_bytes(b"".join([*pages[:at], changed, *pages[at + 1 :]]))
        with pytest.raises((TamperedDeployment, OSError)) as caught:
            registry.verify()
        assert_one_line(registry, caught.value)
        assert_unchanged_or_refused(registry, names, codes)
        assert_added_or_refused(registry)
        for extra in ("-wal", "-shm"):
            path.with_name(path.name + extra).unlink(missing_ok=True)
    path.write_bytes(data)
    registry.verify()


def assert_one_line(registry, fault):
    assert str(fault).startswith(f"{registry.path}: ")
    assert "\n" not in str(fault)


def assert_unchanged_or_refused(registry, names, codes):
    try:
        read, packed = [user.name for user in registry.users()], registry.packed()
    except (TamperedDeployment, OSError) as fault:
        assert_one_line(registry, fault)
        return
    assert read == names
    np.testing.assert_array_equal(packed, codes)


def assert_added_or_refused(registry):
    """What is acknowledged is there."""
    try:
        registry.add(["new"])
    except (TamperedDeployment, OSError) as fault:
        assert_one_line(registry, fault)
        return
    assert registry.user("new").id == 401
