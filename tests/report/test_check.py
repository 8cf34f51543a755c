"""What a record says is computed again with NumPy alone, for every kind of finding, and no change passes."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from latentfp.attribution.estimate import Estimate, Status
from latentfp.attribution.evidence import holm, support
from latentfp.attribution.ranking import among
from latentfp.attribution.verdict import CLEARED, judge
from latentfp.deployment import merkle
from latentfp.deployment.signature import sign
from latentfp.fingerprint.codes import draw_codes, pack
from latentfp.report import check as checking

BITS, USERS, IDENTITY = 32, 20, "ab" * 16
KEY = Ed25519PrivateKey.generate()


class Provider:
    """Users, their codes and the commitment to them; what it finds of images with these logits."""

    def __init__(self, *, repeats=1, factor=3.0, dependent=False):
        self.codes = draw_codes(1, USERS, bits=BITS * repeats, min_distance=4, repeats=repeats)
        self.names = [f"user {i}" for i in range(USERS)]
        self.salts = [bytes([i]) * 16 for i in range(USERS)]
        self.repeats = repeats
        self.registered = among(self.codes, repeats=repeats, bonferroni=factor)._replace(dependent=dependent)

    def opening(self, user):
        packed = [row.tobytes() for row in pack(self.codes)]
        values = [
            merkle.opened_code(IDENTITY, i + 1, self.names[i], packed[i], self.salts[i]) for i in range(USERS)
        ]
        return {
            **{"entry": 1, "time": "", "first": 1, "count": USERS, "deployment": IDENTITY},
            **{"number": user + 1, "name": self.names[user]},
            **{"code": packed[user].hex(), "salt": self.salts[user].hex()},
            "commitment": merkle.commitment(values).hex(),
            "path": [it.hex() for it in merkle.proof(values, user)],
        }

    def entry(
        self,
        logits,
        *,
        alpha,
        status=Status.OK,
        membership=None,
        origin="drawn",
        committed=False,
        whole=True,
        temper=1.0,
    ):
        estimate = Estimate(
            code=logits > 0,
            logits=logits,
            content=np.zeros((1, 2)),
            loss=np.ones(1),
            status=np.array([int(status)]),
            levels=np.tanh(logits / 2),
        )
        alien = np.array([membership is not None and membership <= CLEARED])
        (verdict,) = judge(
            estimate,
            self.registered,
            alpha=alpha,
            tempers=temper,
            limits=CLEARED if whole else 0.0,
            out_of_distribution=alien,
        )
        chosen = origin != "drawn" and not committed
        kind, user = verdict.kind.value, verdict.user
        if chosen and kind == "user":
            kind, user = "inconclusive", None
        return {
            **{"file": "a.png", "sha256": None, "verdict": kind, "status": status.name.lower()},
            "user": None if user is None else self.names[user],
            **{"matched_bits": verdict.ranked[0].matched_bits, "bits": BITS, "code_origin": origin},
            "p_value": None if chosen else verdict.p_value,
            "log10_lr": None if chosen else verdict.log10_lr,
            "support": None if chosen else support(verdict.log10_lr),
            **{"case_p_value": None, "miss_p_value": verdict.miss_p_value, "membership": membership},
            "ranked": [
                {
                    "user": self.names[it.user],
                    "matched_bits": it.matched_bits,
                    "log_likelihood": it.log_likelihood,
                }
                for it in verdict.ranked
            ],
            "evidence": {
                **{"ratios": list(verdict.soft), "scores": [it.score for it in verdict.ranked]},
                **{"bound": verdict.bound, "users": USERS, "factor": self.registered.bonferroni},
                **{"dependent": self.registered.dependent, "temper": verdict.temper},
                "clears_below": verdict.clears_below,
            },
            "opening": None if user is None else self.opening(user),
        }

    def record(self, entries, *, alpha=1e-3, case=False, committed=False):
        if case:
            tested = [entry for entry in entries if entry["p_value"] is not None]
            for entry, p in zip(tested, holm([entry["p_value"] for entry in tested]), strict=True):
                entry["case_p_value"] = p
                if entry["user"] is not None and p > alpha:
                    entry |= {"verdict": "inconclusive", "user": None, "opening": None}
        return {
            "case": {
                "format": checking.FORMAT,
                "request": {"alpha": alpha, "case": case, "committed": committed},
            },
            "judgement": {
                **{"users": USERS, "factor": self.registered.bonferroni, "looks": 3},
                **{"dependent": self.registered.dependent, "cleared": CLEARED},
            },
            "deployment": {"id": IDENTITY, "users": USERS, "code_book": {"repeats": self.repeats}},
            "files": entries,
        }

    def logits(self, user, *, sure, wrong, seed):
        """Of an image of a user, with so many wrong bits."""
        random = np.random.default_rng(seed)
        signs = np.where(self.codes[user], 1.0, -1.0)
        bits = random.choice(BITS, wrong, replace=False)
        signs.reshape(BITS, self.repeats)[bits] *= -1
        return (signs * sure * random.uniform(0.5, 1.5, BITS * self.repeats))[None]


def unreadable():
    nothing = ("user", "matched_bits", "p_value", "case_p_value", "miss_p_value", "evidence", "opening")
    nothing += ("log10_lr", "support")
    return {"file": "b.png", "sha256": None, "verdict": "unreadable", "ranked": []} | dict.fromkeys(nothing)


def written(folder, record):
    """The record, signed, with a page."""
    (folder / "case.html").write_text("page")
    digest = checking.hashlib.sha256(b"page").hexdigest()
    whole = sign({**record, "page": {"name": "case.html", "sha256": digest}}, KEY)
    (folder / "case.json").write_text(json.dumps(whole))
    return folder / "case.json"


def faults(folder, record):
    found = checking.check(written(folder, record)).faults
    return [fault for fault in found if "were not given" not in fault]


KINDS = {
    "named": ({}, {"sure": 4, "wrong": 0}, {}),
    "named with wrong bits": ({}, {"sure": 2, "wrong": 3}, {}),
    "somebody else's": ({}, {"sure": 4, "wrong": 14}, {}),
    "somebody else's, not explained": ({}, {"sure": 4, "wrong": 14}, {"whole": False}),
    "a bad fit": ({}, {"sure": 4, "wrong": 14}, {"temper": 121.0}),
    "too little left": ({}, {"sure": 0.3, "wrong": 8}, {}),
    "named, but out of distribution": ({}, {"sure": 4, "wrong": 0}, {"membership": 1e-4}),
    "out of distribution": ({}, {"sure": 0.3, "wrong": 8}, {"membership": 1e-4}),
    "failed": ({}, {"sure": 4, "wrong": 0}, {"status": Status.NONFINITE}),
    "supplied code": ({}, {"sure": 4, "wrong": 0}, {"origin": "supplied"}),
    "supplied and committed": ({}, {"sure": 4, "wrong": 0}, {"origin": "seeded", "committed": True}),
    "repeated bits": ({"repeats": 2}, {"sure": 2, "wrong": 1}, {}),
    "dependent codes": ({"dependent": True, "factor": 10.0}, {"sure": 3, "wrong": 2}, {}),
    "a case": ({}, {"sure": 2, "wrong": 5}, {}),
}
SAID = {
    "named": {"user"},
    "somebody else's": {"none"},
    "somebody else's, not explained": {"inconclusive"},
    "a bad fit": {"inconclusive"},
    "named, but out of distribution": {"inconclusive"},
    "too little left": {"inconclusive"},
    "out of distribution": {"inconclusive"},
    "failed": {"inconclusive"},
    "supplied code": {"inconclusive"},
    "supplied and committed": {"user"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_ten_findings_of_each_kind_are_computed_again(tmp_path, kind):
    made, image, how = KINDS[kind]
    provider = Provider(**made)
    entries = [provider.entry(provider.logits(i, **image, seed=i), alpha=1e-3, **how) for i in range(10)]
    assert {entry["verdict"] for entry in entries} <= SAID.get(kind, {"user", "none", "inconclusive"})
    committed = how.get("committed", False)
    record = provider.record([*entries, unreadable()], case=kind == "a case", committed=committed)
    assert faults(tmp_path, record) == []


def base():
    """A record of a named, a cleared, an undecided and an unreadable file."""
    provider = Provider()
    entries = [
        provider.entry(provider.logits(i, sure=sure, wrong=wrong, seed=i), alpha=1e-3)
        for i, (sure, wrong) in enumerate([(4, 1), (4, 14), (0.3, 8)])
    ]
    return provider.record([*entries, unreadable()])


def tampered(*path, value):
    """A change of the value at a path, or by a function of what is there."""

    def change(record):
        *outer, last = path
        for step in outer:
            record = record[step]
        record[last] = value(record[last]) if callable(value) else value

    return change


NAMED, CLEARED_FILE, UNDECIDED, UNREAD = (("files", i) for i in range(4))
CHANGES = {
    "p smaller": tampered(*NAMED, "p_value", value=lambda p: p / 2),
    "p a little larger": tampered(*NAMED, "p_value", value=lambda p: p * (1 + 1e-6)),
    "p left out": tampered(*NAMED, "p_value", value=None),
    "p as text": tampered(*NAMED, "p_value", value=str),
    "p true": tampered(*UNDECIDED, "p_value", value=True),
    "a ratio": tampered(*NAMED, "evidence", "ratios", 0, value=lambda q: -q),
    "a ratio grown": tampered(*NAMED, "evidence", "ratios", 5, value=lambda q: q + 2),
    "a ratio too large": tampered(*NAMED, "evidence", "ratios", 0, value=300),
    "a ratio of no whole": tampered(*NAMED, "evidence", "ratios", 0, value=1.5),
    "a ratio fewer": tampered(*NAMED, "evidence", "ratios", value=lambda q: q[1:]),
    "a score": tampered(*NAMED, "evidence", "scores", 0, value=lambda s: s + 2),
    "a score of other parity": tampered(*NAMED, "evidence", "scores", 1, value=lambda s: s + 1),
    "scores in another order": tampered(*NAMED, "evidence", "scores", value=lambda s: s[::-1]),
    "scores fewer": tampered(*NAMED, "evidence", "scores", value=lambda s: s[:1]),
    "bound": tampered(*CLEARED_FILE, "evidence", "bound", value=lambda s: s + 20),
    "bound too low": tampered(*CLEARED_FILE, "evidence", "bound", value=lambda s: s - 20),
    "users of a file": tampered(*NAMED, "evidence", "users", value=1),
    "users of the case": tampered("judgement", "users", value=1),
    "users of the deployment": tampered("deployment", "users", value=1),
    "factor of a file": tampered(*NAMED, "evidence", "factor", value=1.0),
    "factor of the case": tampered("judgement", "factor", value=1.0),
    "alpha": tampered("case", "request", "alpha", value=1e-12),
    "case": tampered("case", "request", "case", value=True),
    "cleared becomes named": tampered(*CLEARED_FILE, "verdict", value="user"),
    "named becomes cleared": tampered(*NAMED, "verdict", value="none"),
    "undecided becomes cleared": tampered(*UNDECIDED, "verdict", value="none"),
    "unreadable becomes cleared": tampered(*UNREAD, "verdict", value="none"),
    "unreadable with a user": tampered(*UNREAD, "user", value="user 1"),
    "another user": tampered(*NAMED, "user", value="user 7"),
    "a user who is not accused": tampered(*UNDECIDED, "user", value="user 2"),
    "nobody accused": tampered(*NAMED, "user", value=None),
    "another ranked first": tampered(*NAMED, "ranked", 0, "user", value="user 7"),
    "matched bits": tampered(*NAMED, "matched_bits", value=lambda n: n + 1),
    "matched bits of the first": tampered(*NAMED, "ranked", 0, "matched_bits", value=lambda n: n + 1),
    "likelihood": tampered(*NAMED, "ranked", 0, "log_likelihood", value=lambda x: x / 2),
    "miss p": tampered(*NAMED, "miss_p_value", value=lambda p: p / 2),
    "membership": tampered(*NAMED, "membership", value=1e-9),
    "limit of none": tampered(*CLEARED_FILE, "evidence", "clears_below", value=0.0),
    "temper": tampered(*CLEARED_FILE, "evidence", "temper", value=9.0),
    "temper left out": tampered(*CLEARED_FILE, "evidence", "temper", value=None),
    "likelihood ratio": tampered(*NAMED, "log10_lr", value=lambda x: x + 1),
    "words of the likelihood ratio": tampered(*UNDECIDED, "support", value="strong support"),
    "status": tampered(*NAMED, "status", value="nonfinite"),
    "origin of the code": tampered(*NAMED, "code_origin", value="supplied"),
    "case p": tampered(*NAMED, "case_p_value", value=1e-9),
    "code": tampered(*NAMED, "opening", "code", value=lambda code: "ff" + code[2:]),
    "salt": tampered(*NAMED, "opening", "salt", value="11" * 16),
    "number": tampered(*NAMED, "opening", "number", value=lambda n: n + 1),
    "name": tampered(*NAMED, "opening", "name", value="user 7"),
    "path": tampered(*NAMED, "opening", "path", value=lambda path: path[:-1]),
    "commitment": tampered(*NAMED, "opening", "commitment", value="00" * 32),
    "deployment": tampered("deployment", "id", value="cd" * 16),
    "opening left out": tampered(*NAMED, "opening", value=None),
    "format": tampered("case", "format", value=1),
    "a file left out of the evidence": tampered(*NAMED, "evidence", value=None),
    "files of no sense": tampered("files", value=3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_noticed_although_it_is_signed(tmp_path, change):
    record = base()
    assert faults(tmp_path, record) == []
    changed = copy.deepcopy(record)
    CHANGES[change](changed)
    assert changed != record
    assert faults(tmp_path, changed) != []


def test_a_change_after_the_signature_is_noticed(tmp_path):
    path = written(tmp_path, base())
    path.write_text(path.read_text().replace('"looks": 3', '"looks": 4'))
    assert "the record is not what was signed" in checking.check(path).faults


@pytest.mark.parametrize("text", ['{"case": NaN}', '{"case": 1e999}', "[" * 100_000, "", "3", '{"case": {}}'])
def test_what_is_no_record_is_one_fault(tmp_path, text):
    (tmp_path / "case.json").write_text(text)
    (fault,) = checking.check(tmp_path / "case.json").faults
    assert fault.startswith("it is no record of a case")


def test_a_pipe_is_no_record(tmp_path):
    os.mkfifo(tmp_path / "case.json")
    assert checking.check(tmp_path / "case.json").faults == ["it is no record of a case (ValueError)"]


ALONE = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in "jax jaxlib flax scipy jaxtyping cryptography PIL pyarrow".split():
            raise ImportError(name)
sys.meta_path.insert(0, Refused())
from latentfp.report import check
sys.exit(check.main(sys.argv[1:]))
"""


def test_numpy_alone_suffices(tmp_path):
    """All but the signature, which is said."""
    path = written(tmp_path, base())
    command = [sys.executable, "-c", ALONE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "FAILED: the signature was not checked: install `cryptography`",
        "FAILED: the 0 files of the case were not given, so they were not compared",
    ]
