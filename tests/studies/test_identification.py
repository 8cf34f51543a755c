"""Identification among many users, on a linear generator and on readings whose truth is known."""

import json
import math

import numpy as np
import pytest
import small_study

from latentfp.attribution.ranking import among_packed
from latentfp.fingerprint.codes import unpack
from latentfp.studies import identification, readings
from latentfp.studies.identification import Settings, draw_book, judged, owners
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
    return judged(Readings(soft, *np.ones((4, N, 1), np.float32)), registered, owner, book, alpha=1e-6)


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


def test_a_study_from_a_deployment(deployment, tmp_path):
    setting = {"deployment": str(deployment), "users": 50, "alpha": 1e-4, "method": "auto"}
    settings = Settings(**setting, images={"none": 3, "blur": 2})
    result = small_study.run(identification, settings, tmp_path, seed=1)
    clean, blurred = result["rows"]
    assert (clean["attack"], clean["images"], clean["right"], clean["wrong"]) == ("none", 3, 3, 0)
    assert list(clean["stages"]) == ["encoder", "decoder", "refine", "multistart"]
    assert sum(clean["stages"].values()) == 3
    assert blurred["images"] == 2
    assert json.loads((tmp_path / "tiny.json").read_text())["rows"] == result["rows"]


def test_a_file_is_the_same_in_every_part(deployment, tmp_path, monkeypatch):
    """Contents, owner and attack of file number 2 do not depend on which part it is in."""
    setting = {"deployment": str(deployment), "users": 50, "alpha": 1e-4, "method": "encoder"}
    settings = Settings(**setting, images={"noise": 3})
    for part in (3, 2):
        monkeypatch.setattr(readings, "PART", part)
        small_study.run(identification, settings, tmp_path / str(part), seed=1)
    paths = [next(tmp_path.glob(f"{part}/readings/noise-{first}-*.npz")) for part, first in ((3, 0), (2, 2))]
    whole, last = (np.load(path)["soft"] for path in paths)
    np.testing.assert_array_equal(last, whole[2:])
