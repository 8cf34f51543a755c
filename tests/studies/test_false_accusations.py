"""Rates of false accusations on readings whose truth is known."""

import numpy as np
import pytest

from latentfp.studies import false_accusations
from latentfp.studies.false_accusations import Settings, p_values, rates_of
from latentfp.studies.readings import Readings

N, BITS = 2000, 64


def settings(**changed):
    usual = {
        "deployment": "",
        "images": {},
        "users": (1, 20),
        "deployments": (6, 3),
        "alphas": (0.1, 1e-6),
        "method": "decoder",
    }
    return Settings(**{**usual, **changed})


def fair(seed=0, n=N):
    return np.random.default_rng(seed).integers(-24, 25, (n, BITS)).astype(np.int8)


def same(n=N):
    """Readings that hang together as much as can be: one and the same."""
    return np.repeat(fair(1, 1), n, axis=0)


def once(soft):
    """Readings of one stage."""
    return Readings(soft[:, None], *np.ones((5, len(soft), 1), np.float32))


@pytest.fixture(scope="module")
def measured():
    return rates_of({"fair": once(fair()), "same": once(same())}, settings(), seed=0)


def row(measured, kind, users):
    (found,) = (it for it in measured["rates"] if (it["kind"], it["users"]) == (kind, users))
    return found


@pytest.mark.parametrize("users", [1, 20])
def test_independent_readings_keep_the_promise(measured, users):
    found = row(measured, "fair", users)
    assert found["images"] == N
    rate = found["promised"]["0.1"]
    # Five standard errors of a rate of at most 0.1.
    error = (0.1 * 0.9 / N / found["deployments"]) ** 0.5
    assert 0.05 < rate["rate"] < 0.1 + 5 * error
    assert rate["worst"] < 0.1 + 5 * (0.1 * 0.9 / N) ** 0.5
    assert found["promised"]["1e-06"]["accused"] == 0


def test_readings_that_are_all_the_same_are_accused_together(measured):
    """All of them or none in one deployment: the promise holds over deployments, not for each."""
    rate = row(measured, "same", 20)["promised"]["0.1"]
    assert rate["worst"] in (0.0, 1.0)
    assert rate["accused"] % N == 0


def test_effective_bits_are_those_that_are_independent(measured):
    facts = measured["readings"]
    np.testing.assert_allclose(facts["fair"]["effective_bits"], BITS, rtol=0.05)
    assert facts["same"]["effective_bits"] == 0
    paired = np.repeat(fair(2)[:, ::2], 2, axis=1)
    alone = settings(users=(1,), deployments=(1,))
    halved = rates_of({"paired": once(paired)}, alone, seed=0)["readings"]["paired"]
    np.testing.assert_allclose(halved["effective_bits"], BITS / 2, rtol=0.05)
    assert facts["fair"]["supported_rate"] == 3 / N


def test_the_tail_of_independent_readings_is_exponential(measured):
    """Of scale 1, or somewhat less, as scores are whole numbers."""
    tail = row(measured, "fair", 1)["tail"]
    assert tail["images"] > 30
    assert 0.6 < tail["scale"] < 1.4
    assert tail["limit"] > tail["scale"]


def test_p_values_are_exact_or_one():
    soft = fair(3, 300)
    p = p_values(soft[:, None], np.random.default_rng(5), users=1)
    code = np.unpackbits(np.random.default_rng(5).integers(256, size=(1, 8), dtype=np.uint8), axis=1)
    scores = soft.astype(int) @ (2 * code[0].astype(int) - 1)
    exact = false_accusations.chance(soft, scores)
    shown = p < 1
    np.testing.assert_allclose(p[shown], exact[shown], rtol=1e-9)
    assert exact[~shown].min() > 0.05
    assert shown.sum() > 20


def test_alpha_is_kept_over_cases():
    """Of 500 cases of 20 fair readings no more than one in ten accuses anybody; by files nearly all would."""
    found = rates_of({"fair": once(fair(4, 10_000))}, settings(case=20), seed=0)
    for row in found["cases"]:
        assert (row["files"], row["cases"]) == (20, 500)
        spread = (0.1 * 0.9 / 500 / row["deployments"]) ** 0.5
        assert 0.03 < row["promised"]["0.1"] < 0.1 + 5 * spread
        assert row["promised"]["1e-06"] == 0


def test_alpha_is_kept_by_files_that_are_judged_together(measured):
    """Whether they are fair, or all the same: the codes are drawn."""
    for row in measured["together"]:
        assert (row["files"], row["cases"]) == (8, 10_000)
        assert row["promised"]["1e-06"] == 0
    of_fair = rates_of({"fair": once(fair(8))}, settings(users=(1,), deployments=(1,)), seed=1)["together"][0]
    # 10 % of 10 000 are 1000, with a standard error of 30.
    assert 0.08 < of_fair["promised"]["0.1"] < 0.115


def test_cases_are_spread_over_deployments():
    """One secret accuses all cases of one and the same reading, or none; of 100 secrets one in ten at most
    does, but for five standard errors."""
    (found,) = rates_of({"same": once(same())}, settings(users=(1,), deployments=(100,)), seed=0)["together"]
    assert found["deployments"] == 100
    assert 0 < found["promised"]["0.1"] < 0.1 + 5 * (0.1 * 0.9 / 100) ** 0.5


def test_the_best_of_several_stages_pays_for_each():
    soft = np.stack([fair(6, 500), fair(7, 500), np.zeros((500, BITS), np.int8)], axis=1)
    together = p_values(soft, np.random.default_rng(5), users=1)
    alone = [p_values(soft[:, [s]], np.random.default_rng(5), users=1) for s in range(3)]
    np.testing.assert_allclose(together, np.minimum(1, 3 * np.min(alone, axis=0)))
    assert (np.argmin(alone, axis=0) == 1).any()
