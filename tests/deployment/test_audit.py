"""The log of what was done to users: a chain that nobody breaks unseen, and with a secret nobody rewrites."""

import hashlib
import json
import os
import shutil
import sqlite3
import stat
from contextlib import closing

import numpy as np
import pytest

from latentfp import cli
from latentfp.choices import Status
from latentfp.deployment import merkle, secret, signature
from latentfp.deployment import registry as registry_module
from latentfp.deployment.audit import unkeyed
from latentfp.deployment.deployment import create, open_deployment, open_registry
from latentfp.deployment.manifest import TamperedDeployment
from latentfp.fingerprint.codes import pack


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
        "root = x'00'",
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
        rows = connection.execute(f"SELECT {registry_module.COLUMNS} FROM users ORDER BY id").fetchall()
        for values in rows:
            row = registry_module._Row(*values)._replace(note="forged")
            forged = [row.note, forger._digest(None, row), row.id]
            connection.execute("UPDATE users SET note = ?, digest = ? WHERE id = ?", forged)
        connection.execute("UPDATE seal SET users = 0, root = ?", [merkle.empty_root(forger.identity)])
        root = merkle.update(connection, forger.identity, range(1, 3), 2)
        forger.log.append(connection, "add", {}, users=2, root=root)
    assert [user.note for user in forger.users()] == ["forged", "forged"], "all agrees without a key"
    if not secreted:
        registry.verify()
        return
    with pytest.raises(TamperedDeployment, match="found audit entry 1 broken"):
        registry.verify()
    reads = {
        "user": lambda: registry.user("bob"),
        "users": registry.users,
        "codes": registry.codes,
        "count": registry.count,
        "user_of": lambda: registry.user_of(0),
        "opening": lambda: registry.opening("bob"),
        "add": lambda: registry.add(["carol"]),
        "open": lambda: open_registry(registry.path.parent),
    }
    for read in reads.values():
        with pytest.raises(TamperedDeployment, match="audit entry 1 is not as it was written"):
            read()


def test_swapped_users_are_found_by_every_read(registry):
    """Each row whole in the other's place, as one who lacks the secret can do."""
    columns = "code, created, status, note, origin, salt, digest"
    with closing(sqlite3.connect(registry.path)) as connection:
        first, second = connection.execute(f"SELECT {columns} FROM users ORDER BY id").fetchall()
    places = ", ".join(f"{name} = ?" for name in columns.split(", "))
    edit(
        registry,
        ("UPDATE users SET code = x'00' WHERE id = 1",),
        (f"UPDATE users SET {places} WHERE id = 2", *first),
        (f"UPDATE users SET {places} WHERE id = 1", *second),
    )
    for read in (lambda: registry.user("alice"), lambda: registry.user_of(1), registry.packed):
        with pytest.raises(TamperedDeployment, match="found digest"):
            read()


def test_a_row_set_back_to_what_it_once_was_is_found(registry):
    """An old row has a digest that was once made with the secret; the root has changed since."""
    with closing(sqlite3.connect(registry.path)) as connection:
        old = connection.execute("SELECT status, note, digest FROM users WHERE id = 1").fetchone()
    registry.set_status("alice", Status.REVOKED, note="again")
    edit(registry, ("UPDATE users SET status = ?, note = ?, digest = ? WHERE id = 1", *old))
    with pytest.raises(TamperedDeployment, match=r"user 1 'alice' belongs to the root"):
        registry.user("alice")
    with pytest.raises(TamperedDeployment, match=r"user 2 'bob' belongs to the root"):
        registry.user_of(1)
    with pytest.raises(TamperedDeployment, match="found 2 users with the root"):
        registry.packed()


def test_a_commitment_is_opened_for_one_user(registry):
    registry.add(["carol", "dan", "eve"], seed=1)
    opening = registry.opening("dan")
    entry = list(registry.audit())[opening["entry"] - 1]
    assert opening["commitment"] == json.loads(entry.subject)["commitment"]
    assert (opening["number"], opening["first"], opening["count"]) == (4, 3, 3)
    others = [pack(registry.user(name).code[None]).tobytes().hex() for name in ("carol", "eve")]
    assert not any(code in json.dumps(opening) for code in others)

    def holds(**changed):
        given = opening | changed
        code, salt = (bytes.fromhex(given[name]) for name in ("code", "salt"))
        value = merkle.opened_code(given["deployment"], given["number"], given["name"], code, salt)
        place, path = given["number"] - given["first"], [bytes.fromhex(it) for it in given["path"]]
        return merkle.proved(value, place, given["count"], path, bytes.fromhex(given["commitment"]))

    assert holds()
    changes = {"code": others[0], "salt": "00" * 16, "name": "eve", "number": 5, "deployment": "ab" * 16}
    assert not any(holds(**{name: value}) for name, value in changes.items())


def test_where_codes_came_from(registry):
    registry.add(["carol"], seed=3)
    registry.add(["dan"], codes=np.arange(8, dtype=np.uint8)[None] * (np.arange(8) < 2))
    assert [user.origin.value for user in registry.users()] == ["drawn", "drawn", "seeded", "supplied"]


def test_a_log_that_is_set_back_is_found_by_a_head(registry, tmp_path, capsys):
    """Nothing in the file tells it; who kept the head does."""
    folder, early = registry.path.parent, tmp_path / "early.sqlite"
    key, head = tmp_path / "sign.pem", tmp_path / "head.json"
    signature.create(key)
    shutil.copy(registry.path, early)
    registry.add(["carol"])
    made = ["audit", "head", "--deployment", folder, "--out", head, "--key", key]
    cli.app([str(it) for it in made], standalone_mode=False)
    verify = ["audit", "verify", "--deployment", folder, "--head", head, "--public-key", f"{key}.pub"]
    registry.add(["dan"])
    cli.app([str(it) for it in verify], standalone_mode=False)
    assert "6 entries" in capsys.readouterr().out
    shutil.copy(early, registry.path)
    registry.verify()
    with pytest.raises(TamperedDeployment, match="entry 5 of the audit log is missing, expected the head"):
        cli.app([str(it) for it in verify], standalone_mode=False)
    head.write_text(head.read_text().replace('"entries": 5', '"entries": 4'))
    with pytest.raises(signature.BadSignature):
        cli.app([str(it) for it in verify], standalone_mode=False)


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "3", '{"a": NaN}', '{"a": 1, "a": 2}', ""])
def test_what_is_no_head_is_refused(registry, tmp_path, text):
    """Deeply nested ones once ended in a traceback."""
    head = tmp_path / "head.json"
    head.write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011
        cli.app(
            ["audit", "verify", "--deployment", str(registry.path.parent), "--head", str(head)],
            standalone_mode=False,
        )


def test_a_pipe_is_no_head(registry, tmp_path):
    os.mkfifo(tmp_path / "head.json")
    with pytest.raises(ValueError, match="is no file"):
        cli.app(
            [
                "audit",
                "verify",
                "--deployment",
                str(registry.path.parent),
                "--head",
                str(tmp_path / "head.json"),
            ],
            standalone_mode=False,
        )


def test_the_file_is_its_owners_alone(registry):
    assert stat.S_IMODE(registry.path.stat().st_mode) == 0o600


def test_the_chain_of_another_deployment_is_another(registry, tmp_path, settings):
    other = create(tmp_path / "other", **settings).registry
    stolen = registry._replace(identity=other.identity)
    with pytest.raises(TamperedDeployment, match="found audit entry 1 broken"):
        stolen.verify_audit()
    with pytest.raises(TamperedDeployment, match="found digest"):
        stolen.users()


def test_reading_users_needs_the_secret(tmp_path, settings, monkeypatch):
    known = secret.create(tmp_path / "secret")
    folder = create(tmp_path / "deployment", secret=known, **settings).path
    open_deployment(folder, secret=known).registry.add(["alice"])
    monkeypatch.delenv(secret.VARIABLE, raising=False)
    with pytest.raises(ValueError, match="needs its secret: set LATENTFP_SECRET"):
        open_registry(folder)
    monkeypatch.setenv(secret.VARIABLE, str(tmp_path / "secret"))
    registry = open_registry(folder)
    assert [user.name for user in registry.stream()] == ["alice"]
    secret.create(tmp_path / "other")
    monkeypatch.setenv(secret.VARIABLE, str(tmp_path / "other"))
    for act in (registry.verify_audit, registry.users, lambda: registry.add(["bob"])):
        with pytest.raises(ValueError, match="was made with another secret"):
            act()
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
