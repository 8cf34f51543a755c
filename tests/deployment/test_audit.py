"""The log of what was done to users: a chain that nobody breaks unseen, and with a secret nobody rewrites."""

import hashlib
import json
import os
import sqlite3
from contextlib import closing

import pytest

from latentfp.choices import Status
from latentfp.deployment import secret
from latentfp.deployment.audit import unkeyed
from latentfp.deployment.deployment import create, open_deployment, open_registry
from latentfp.deployment.manifest import TamperedDeployment


@pytest.fixture(params=["plain", "secret"])
def registry(request, tmp_path, settings, monkeypatch):
    """Of a deployment without and with a secret, after four entries."""
    known = None
    if request.param == "secret":
        known = secret.create(tmp_path / "secret")
        monkeypatch.setenv(secret.VARIABLE, str(tmp_path / "secret"))
    registry = create(tmp_path / "deployment", secret=known, **settings).registry
    registry.add(["alice", "bob"])
    registry.set_status("alice", Status.REVOKED, note="left")
    registry.record("attribute", {"images": [["ab" * 32, "user", "bob"]]})
    registry.set_status("alice", Status.ACTIVE, note="back")
    return registry


def edit(registry, *statements):
    """Change the file behind its back, without the triggers."""
    with closing(sqlite3.connect(registry.path)) as connection, connection:
        connection.execute("DROP TRIGGER audit_is_not_edited")
        connection.execute("DROP TRIGGER audit_is_not_cut")
        for statement, *values in statements:
            connection.execute(statement, values)


def test_every_change_is_an_entry(registry):
    entries = list(registry.audit())
    assert [entry.number for entry in entries] == [1, 2, 3, 4]
    assert [entry.action for entry in entries] == ["add", "revoke", "attribute", "reinstate"]
    added, revoked, attributed, _ = (json.loads(entry.subject) for entry in entries)
    with registry.reading() as connection:
        digests = connection.execute("SELECT digest FROM users ORDER BY id").fetchall()
    assert (added["first"], added["count"]) == (1, 2)
    assert added["sha256"] != hashlib.sha256(b"".join(d for (d,) in digests)).hexdigest(), "alice has changed"
    assert revoked == {"user": 1, "name": "alice", "note": "left"}
    assert attributed == {"images": [["ab" * 32, "user", "bob"]]}
    sealed = registry.verify_audit()
    assert (sealed.users, sealed.entries, sealed.head) == (2, 4, entries[-1].hash)


def test_the_hash_of_an_addition_is_that_of_its_rows(registry):
    registry.add(["carol", "dan"])
    *_, entry = registry.audit()
    with registry.reading() as connection:
        digests = connection.execute("SELECT digest FROM users WHERE id > 2 ORDER BY id").fetchall()
    assert json.loads(entry.subject)["sha256"] == hashlib.sha256(b"".join(d for (d,) in digests)).hexdigest()


def test_nothing_is_logged_of_what_did_not_happen(registry):
    with pytest.raises(ValueError, match="registered already"):
        registry.add(["carol", "bob"])
    with pytest.raises(ValueError, match="no user 'eve' among the 2"):
        registry.set_status("eve", Status.REVOKED, note="")
    registry.add([])
    assert registry.verify_audit().entries == 4


@pytest.mark.parametrize("statement", ["UPDATE audit SET action = 'x'", "DELETE FROM audit WHERE number = 4"])
def test_the_log_is_append_only(registry, statement):
    refused = pytest.raises(sqlite3.IntegrityError, match="the audit log is append-only")
    with closing(sqlite3.connect(registry.path)) as connection, refused:
        connection.execute(statement)


@pytest.mark.parametrize(
    "change",
    [
        "time = '2020-01-01T00:00:00+00:00'",
        "action = 'reinstate'",
        "subject = '{}'",
        "total = x'00'",
        "before = x'00'",
        "hash = x'00'",
        "number = 9",
    ],
)
def test_an_edited_entry_is_named(registry, change):
    edit(registry, (f"UPDATE audit SET {change} WHERE number = 2",))
    found = "found audit entry (2|3|9) broken, expected entry [23] as it was written"
    for check in (registry.verify_audit, registry.verify):
        with pytest.raises(TamperedDeployment, match=f"{found}|found audit entry 9"):
            check()


@pytest.mark.parametrize("number", [1, 3, 4])
def test_a_removed_entry_is_found(registry, number):
    edit(registry, ("DELETE FROM audit WHERE number = ?", number))
    with pytest.raises(
        TamperedDeployment, match=r"broken, expected entry|seal of the users and audit entry 3"
    ):
        registry.verify_audit()
    if number == 4:  # the end is compared at every opening, too
        for open_ in (open_registry, open_deployment):
            with pytest.raises(TamperedDeployment, match="seal of the users and audit entry 3"):
                open_(registry.path.parent)


def test_an_end_cut_off_with_its_seal_is_found_by_the_users(registry):
    """The last entry says what the sum of the users was, and alice has changed since."""
    third = list(registry.audit())[2]
    edit(
        registry,
        ("DELETE FROM audit WHERE number = 4",),
        ("UPDATE seal SET entries = 3, head = ?", third.hash),
    )
    with pytest.raises(TamperedDeployment, match="the seal of the users and audit entry 3 differ"):
        registry.verify_audit()


def test_only_the_secret_makes_entries(registry):
    """Whoever edits a user and computes digests and a plain chain anew is found where there is a secret."""
    forger, secreted = registry._replace(key=unkeyed), registry.key() is not None
    edit(
        registry,
        ("DELETE FROM audit",),
        ("UPDATE seal SET entries = 0, head = x''",),
    )
    with closing(sqlite3.connect(registry.path)) as connection, connection:
        old = forger._one(connection, "name", "bob")
        new = old._replace(note="forged")
        connection.execute("UPDATE users SET note = 'forged', digest = ? WHERE id = 2", [forger._digest(new)])
        sums = [int.from_bytes(forger._digest(row)) for row in (forger._one(connection, "id", 1), new)]
        total = (int.from_bytes(forger.log.start) + sum(sums)) % 2**256
        connection.execute("UPDATE seal SET total = ?", [forger.log.start])
        forger.log.append(connection, "add", {}, change=total - int.from_bytes(forger.log.start))
    assert len(registry.users()) == 2, "the rows agree with their seal"
    if not secreted:
        registry.verify()
        return
    with pytest.raises(TamperedDeployment, match="found audit entry 1 broken"):
        registry.verify()
    with pytest.raises(TamperedDeployment, match="audit entry 1 is not as it was written"):
        registry.add(["carol"])


def test_the_chain_of_another_deployment_is_another(registry, tmp_path, settings):
    other = create(tmp_path / "other", **settings).registry
    stolen = registry._replace(identity=other.identity)
    with pytest.raises(TamperedDeployment, match="found audit entry 1 broken"):
        stolen.verify_audit()


def test_reading_users_needs_no_secret(tmp_path, settings, monkeypatch):
    known = secret.create(tmp_path / "secret")
    folder = create(tmp_path / "deployment", secret=known, **settings).path
    open_deployment(folder, secret=known).registry.add(["alice"])
    monkeypatch.delenv(secret.VARIABLE, raising=False)
    registry = open_registry(folder)
    assert [user.name for user in registry.stream()] == ["alice"]
    assert [entry.action for entry in registry.audit()] == ["add"]
    for act in (
        registry.verify_audit,
        lambda: registry.add(["bob"]),
        lambda: registry.set_status("alice", Status.REVOKED, note=""),
    ):
        with pytest.raises(ValueError, match="needs its secret: set LATENTFP_SECRET"):
            act()
    secret.create(tmp_path / "other")
    monkeypatch.setenv(secret.VARIABLE, str(tmp_path / "other"))
    with pytest.raises(ValueError, match="was made with another secret"):
        registry.add(["bob"])
    monkeypatch.setenv(secret.VARIABLE, str(tmp_path / "secret"))
    registry.add(["bob"])
    assert registry.verify_audit().entries == 2


def test_what_cannot_be_logged_is_said(folder, capsys):
    opened = open_deployment(folder)
    opened.registry.note("generate", {"name": "bob"})
    assert capsys.readouterr().err == ""
    opened.registry.path.chmod(0o400)
    if os.geteuid() == 0:
        os.seteuid(65534)  # root may write everywhere
    try:
        opened.registry.note("generate", {"name": "bob"})
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
    said = capsys.readouterr().err
    assert said.startswith("note: not in the audit log: ")
    assert "nothing was changed" in said
    assert said.count("\n") == 1
    assert [entry.action for entry in open_registry(folder).audit()] == ["add", "generate"]
