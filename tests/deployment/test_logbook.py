import hashlib
import json
from pathlib import Path

import pytest
from linear_space import write_deployment

from latentfp.data.files import file_hash
from latentfp.deployment.deployment import open_deployment
from latentfp.deployment.investigate import Finding
from latentfp.deployment.logbook import logged


def finding(file, user=None):
    return Finding(
        file=str(file),
        sha256=file_hash(file),
        verdict="none" if user is None else "user",
        user=user,
        matched_bits=None,
        bits=32,
        p_value=None,
        shortfall=None,
        misfit=None,
        membership=None,
        status="ok",
        stage=None,
        passes=0,
        looks=0,
        seconds=0.0,
    )


@pytest.fixture
def registry(tmp_path):
    return open_deployment(write_deployment(tmp_path)).registry


def test_findings_are_entered_before_they_are_told(registry, tmp_path):
    (tmp_path / "a.png").write_bytes(b"pixels")
    findings = [finding(tmp_path / "a.png", "alice"), finding(Path("missing.png"))]
    told = logged(registry, "attribute", findings)
    assert next(told) == findings[0]
    last = list(registry.audit())[-1]
    assert last.action == "attribute"
    digest = hashlib.sha256(b"pixels").hexdigest()
    assert json.loads(last.subject) == {"images": [[digest, "user", "alice"], [None, "none", None]]}
    assert list(told) == findings[1:]
    registry.verify_audit()


def test_groups_have_entries_of_their_own(registry):
    before = len(list(registry.audit()))
    assert len(list(logged(registry, "verify", [finding("x")] * 130))) == 130
    assert len(list(registry.audit())) == before + 2


def test_what_cannot_be_written_is_said(registry, monkeypatch, capsys):
    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr(type(registry), "record", refuse)
    assert len(list(logged(registry, "attribute", [finding("x")]))) == 1
    assert capsys.readouterr().err == "note: not in the audit log: disk full\n"
