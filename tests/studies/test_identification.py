"""Identification among many users, on a linear generator and on readings whose truth is known."""

import json
import math
from collections import Counter

import numpy as np
import pytest
import small_study

from latentfp.attribution.membership import Null
from latentfp.attribution.ranking import among_packed
from latentfp.augment.suites import suite
from latentfp.choices import Stage
from latentfp.fingerprint.codes import unpack
from latentfp.studies import identification, readings
from latentfp.studies.identification import Settings, draw_book, judged, owners, verdicts_of
from latentfp.studies.readings import Readings

USERS, N, BITS = 500, 60, 64


@pytest.fixture(scope="module")
def book():
    return draw_book(USERS, bits=BITS, seed=0)


@pytest.fixture(scope="module")
def owner():
    return owners(N, users=USERS, seed=0)


def judge(book, owner, read, *, looks=1.0):
    """What is said of files whose bits are read as 0 … 1 with certainty."""
    soft = (24 * (2 * read.astype(int) - 1)).astype(np.int8)[:, None]
    registered = among_packed(book, bits=BITS)._replace(bonferroni=looks)
    return judged(Readings(soft, *np.ones((5, N, 1), np.float32)), registered, owner, book, alpha=1e-6)


def test_right_and_wrong_users_are_told_apart(book, owner):
    codes = unpack(book[owner], bits=BITS)
    found = judge(book, owner, codes)
    assert (found["right"], found["wrong"], found["first"]) == (N, 0, N)
    assert found["bit_accuracy"] == found["within_reach"] == 1
    false = np.arange(N) < 20
    codes[false] = unpack(book[(owner[false] + 1) % USERS], bits=BITS)
    found = judge(book, owner, codes)
    assert (found["right"], found["wrong"]) == (N - 20, 20)
    assert found["bit_accuracy"] < 1 - 20 / N * 0.3


def test_too_many_wrong_bits_name_nobody(book, owner):
    """Of equally sure bits as many may be wrong as binomial tails allow 500 users at a rate of 1e-6."""
    forgiven = 9
    tails = [
        USERS * sum(math.comb(BITS, i) for i in range(m + 1)) / 2**BITS for m in (forgiven, forgiven + 1)
    ]
    assert tails[0] < 1e-6 < tails[1]
    wrong = unpack(book[owner], bits=BITS)
    wrong[:, :forgiven] ^= True
    assert judge(book, owner, wrong)["right"] == N
    wrong[:, forgiven] ^= True
    found = judge(book, owner, wrong)
    assert (found["right"], found["wrong"]) == (0, 0)
    assert found["first"] == N
    assert found["within_reach"] == 0


def test_every_look_is_paid_for(book, owner):
    wrong = unpack(book[owner], bits=BITS)
    wrong[:, :8] ^= True
    assert judge(book, owner, wrong, looks=1000.0)["right"] == 0


def test_a_file_has_the_same_owner_in_longer_studies():
    np.testing.assert_array_equal(owners(9, users=USERS, seed=3)[:4], owners(4, users=USERS, seed=3))


def test_whom_a_calibration_clears(book, owner):
    """Files whose best user reads worse than all that the calibration knew are nobody's, the rest are not."""
    codes = unpack(book[owner], bits=BITS)
    codes[:30] = np.random.default_rng(5).random((30, BITS)) < 0.5  # of nobody
    soft = (24 * (2 * codes.astype(int) - 1)).astype(np.int8)[:, None]
    ones = np.ones((N, 1), np.float32)
    read = Readings(soft, 3 * ones, ones, 0.9 * ones, 0 * ones, ones)
    registered = among_packed(book, bits=BITS)
    own = Null(np.linspace(0.5, 2, 2000), np.linspace(0.01, 1, 2000), Stage.MULTISTART)

    def said(null):
        return Counter(it.kind.value for it in verdicts_of(read, registered, alpha=1e-6, null=null))

    assert said(None) == {"user": N - 30, "inconclusive": 30}
    assert said(own) == {"user": N - 30, "none": 30}
    foreign = own._replace(misfits=np.linspace(0.1, 0.5, 2000))  # so that no file is of this generator
    assert said(foreign) == {"inconclusive": N - 30, "none": 30}  # the latter for their codes


def test_a_study_from_a_deployment(deployment, tmp_path):
    setting = {"deployment": str(deployment), "users": 50, "alpha": 1e-4, "method": "auto"}
    settings = Settings(**setting, suites=("nie2023", "pixels"), images=3)
    result = small_study.run(identification, settings, tmp_path, seed=1)
    clean, blurred = result["rows"][:2]
    assert len(result["rows"]) == len(suite("nie2023")) + len(suite("pixels"))
    assert (clean["attack"], clean["images"], clean["right"], clean["wrong"]) == ("none", 3, 3, 0)
    assert list(clean["stages"]) == ["encoder", "decoder", "refine", "multistart"]
    assert sum(clean["stages"].values()) == 3
    assert (blurred["suite"], blurred["attack"], blurred["images"]) == ("nie2023", "blur", 3)
    assert [row["suite"] for row in result["held_out"]] == ["nie2023", "pixels"]
    for row in result["held_out"]:
        assert row["files"] == 3 * len(suite(row["suite"]))
        assert row["lost"] <= row["right"] <= row["files"]
    assert json.loads((tmp_path / "tiny.json").read_text())["rows"] == result["rows"]


def test_a_file_is_the_same_in_every_part(deployment, tmp_path, monkeypatch):
    """Contents, owner and attack of file number 2 do not depend on which part it is in."""
    setting = {"deployment": str(deployment), "users": 50, "alpha": 1e-4, "method": "encoder"}
    settings = Settings(**setting, suites=("nie2023",), images=3)
    for part in (3, 2):
        monkeypatch.setattr(readings, "PART", part)
        small_study.run(identification, settings, tmp_path / str(part), seed=1)
    paths = [
        next(tmp_path.glob(f"{part}/readings/nie2023_noise-{first}-*.npz"))
        for part, first in ((3, 0), (2, 2))
    ]
    whole, last = (np.load(path)["soft"] for path in paths)
    np.testing.assert_array_equal(last, whole[2:])
