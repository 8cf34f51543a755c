from fractions import Fraction
from math import comb

import pytest
from code_distances import hamming

from latentfp.deployment.codebook import CodeKind
from latentfp.deployment.planning import LENGTHS, STAGES, CodePlan, describe, plan, plans
from latentfp.fingerprint.codes import draw_codes


def by_chance(wrong, bits, users):
    one = STAGES * Fraction(sum(comb(bits, w) for w in range(wrong + 1)), 2**bits)
    return 1 - (1 - one) ** users


@pytest.mark.parametrize(("users", "bits", "forgiven"), [(1, 64, 12), (1000, 64, 7), (10**6, 64, 4)])
def test_forgiven_bits_keep_the_rate(users, bits, forgiven):
    """The thresholds of one binomial test, 51, 56 and 59 of 64 bits, and one bit more for four stages."""
    found = plan(users, bits=bits, alpha=1e-6)
    assert found.forgiven == forgiven
    if users <= 1000:
        assert by_chance(forgiven, bits, users) <= Fraction(1, 10**6) < by_chance(forgiven + 1, bits, users)


def test_the_error_rate_names_as_many_as_asked_for():
    found = plan(1000, bits=64, alpha=1e-6, power=0.9)
    p = Fraction(found.error_rate)
    named = sum(comb(64, w) * p**w * (1 - p) ** (64 - w) for w in range(found.forgiven + 1))
    assert float(named) == pytest.approx(0.9, rel=1e-9)


def test_random_codes_of_the_distance_exist():
    found = plan(500, bits=32, alpha=0.01)
    assert found.kind is CodeKind.RANDOM
    codes = draw_codes(0, 500, bits=32, min_distance=found.distance)
    assert hamming(codes[:1], codes[1:]).min() >= found.distance


@pytest.mark.parametrize("users", [1, 2, 3, 20])
@pytest.mark.parametrize("bits", [32, 64])
def test_what_is_planned_can_be_drawn(users, bits):
    """For one user the distance was once as many as there are bits, which no second one can have."""
    found = plan(users, bits=bits, alpha=0.01)
    assert found.distance <= bits // 2
    codes = draw_codes(0, users + 1, bits=bits, min_distance=found.distance)
    assert len(codes) == users + 1


def test_many_users_get_the_farthest_algebraic_code_that_has_enough_words():
    assert plan(10**6, bits=64, alpha=1e-6)[1:4] == (CodeKind.BCH, 24, 16)
    assert plan(2**24 + 1, bits=64, alpha=1e-3)[1:4] == (CodeKind.BCH, 30, 14)


def test_the_impossible_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="32 bits cannot serve 1000000 users at 1e-06: even without a wrong"):
        plan(10**6, bits=32, alpha=1e-6)
    with pytest.raises(ValueError, match="no BCH code has 100 bits"):
        plan(10**6, bits=100, alpha=1e-6)


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"users": 0}, r"got 0 users, expected 1 … 2\^62"),
        ({"users": 10**400}, r"users, expected 1 … 2\^62"),
        ({"bits": 1}, "got 1 bits, expected 2 … 65536"),
        ({"bits": 10**12}, "expected 2 … 65536"),
        ({"alpha": 0.0}, "got alpha 0, expected a rate between 0 and 1"),
        ({"alpha": float("nan")}, "got alpha nan"),
        ({"power": 1.0}, "got power 1"),
    ],
)
def test_numbers_out_of_range_are_refused_once(wrong, fault):
    asked = {"users": 10, "bits": 64, "alpha": 1e-6, "power": 0.99, **wrong}
    rates = {"alpha": asked["alpha"], "power": asked["power"]}
    with pytest.raises(ValueError, match=fault):
        plan(asked["users"], bits=asked["bits"], **rates)
    with pytest.raises(ValueError, match=fault):
        plans(asked["users"], lengths=[asked["bits"]] * 3, **rates)


def test_every_usual_length_is_answered():
    found = plans(10**6, alpha=1e-6)
    assert [isinstance(it, CodePlan) for it in found] == [False, True, True, True]
    assert [it.bits for it in found if isinstance(it, CodePlan)] == list(LENGTHS[1:])
    assert "--bits 64 --codes bch --message 24" in describe(plan(10**6, bits=64, alpha=1e-6))
