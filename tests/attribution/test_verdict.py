from fractions import Fraction
from math import comb

import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.attribution.estimate import Estimate, Status
from latentfp.attribution.verdict import ALPHA, judge, matched_bits, p_value
from latentfp.fingerprint.codes import draw_codes

BITS = 64


def exact_p_value(matched, bits, users):
    """1 - (1 - P[Bin(bits, 1/2) >= matched])^users in whole numbers."""
    one = Fraction(sum(comb(bits, m) for m in range(matched, bits + 1)), 2**bits)
    return float(1 - (1 - one) ** users)


def estimate_of(codes, status=None):
    n = len(codes)
    statuses = [Status.OK] * n if status is None else status
    return Estimate(
        jnp.asarray(codes),
        jnp.asarray(codes, jnp.float32),
        jnp.zeros((n, 2)),
        jnp.zeros(n),
        jnp.asarray(statuses),
    )


def flip(code, bits):
    wrong = code.copy()
    wrong[:bits] ^= True
    return wrong


@pytest.fixture(scope="module")
def book():
    return draw_codes(1, 20, bits=BITS)


@pytest.mark.parametrize("users", [1, 2, 1000])
@pytest.mark.parametrize("bits", [7, 16, 64])
def test_p_value_is_the_formula(bits, users):
    matched = np.arange(bits + 1)
    expected = [exact_p_value(m, bits, users) for m in matched]
    np.testing.assert_allclose(p_value(matched, bits=bits, users=users), expected, rtol=1e-11)


def test_p_value_keeps_its_digits_where_it_is_tiny():
    # 1 - (1 - q) would be 0 below 1e-16.
    np.testing.assert_allclose(p_value(np.array([64]), bits=64, users=1), 2.0**-64, rtol=1e-12)
    np.testing.assert_allclose(p_value(np.array([64]), bits=64, users=10**6), 10**6 * 2.0**-64, rtol=1e-6)


@pytest.mark.parametrize(("users", "forgiven"), [(1, 13), (1000, 8), (10**6, 5)])
def test_the_default_forgives_what_it_says(users, forgiven):
    assert p_value(np.array([BITS - forgiven]), bits=BITS, users=users) <= ALPHA
    assert p_value(np.array([BITS - forgiven - 1]), bits=BITS, users=users) > ALPHA


def test_matched_bits_of_every_user(book):
    counts = matched_bits(np.stack([book[3], ~book[3]]), book)
    assert counts[0, 3] == BITS
    np.testing.assert_array_equal(counts.sum(axis=0), BITS)
    np.testing.assert_array_equal(counts[0], (book[3] == book).sum(axis=1))


@pytest.mark.parametrize("wrong", [0, 7])
def test_a_users_code_is_found(book, wrong):
    (verdict,) = judge(estimate_of([flip(book[5], wrong)]), book)
    assert verdict[:4] == ("user", 5, BITS - wrong, BITS)
    np.testing.assert_allclose(verdict.p_value, exact_p_value(BITS - wrong, BITS, 20), rtol=1e-11)


def test_too_many_wrong_bits_are_nobodys(book):
    (verdict,) = judge(estimate_of([flip(book[5], 14)]), book)
    assert (verdict.verdict, verdict.user) == ("none", None)
    assert verdict.matched_bits == BITS - 14
    assert verdict.p_value > ALPHA


def test_a_larger_alpha_names_more(book):
    wrong = estimate_of([flip(book[5], 14)])
    assert judge(wrong, book, alpha=0.01)[0].user == 5


def test_a_tie_is_nobodys(book):
    twice = np.concatenate([book, book[5:6]])
    (verdict,) = judge(estimate_of([book[5]]), twice)
    assert (verdict.verdict, verdict.matched_bits) == ("none", BITS)


def test_a_failed_estimate_is_nobodys(book):
    failed, fine = judge(estimate_of(book[:2], [Status.NONFINITE, Status.OK]), book)
    assert failed == ("none", None, 0, BITS, 1.0)
    assert fine.user == 1


def test_images_are_judged_one_by_one(book):
    codes = np.stack([book[7], ~book[7], book[0]])
    together = judge(estimate_of(codes), book)
    assert together == [judge(estimate_of([code]), book)[0] for code in codes]
    assert [verdict.user for verdict in together] == [7, None, 0]


def test_false_accusations_are_as_rare_as_promised(book):
    fair = np.random.default_rng(2).random((20_000, BITS)) < 0.5
    accused = sum(verdict.user is not None for verdict in judge(estimate_of(fair), book, alpha=0.01))
    # At most 1 % of 20 000: 200, and five standard errors of 14 more.
    assert 0 < accused < 270


def test_no_registered_user_is_refused(book):
    with pytest.raises(ValueError, match="add a user"):
        judge(estimate_of(book[:1]), book[:0])


@pytest.mark.parametrize("alpha", [1e-6, 1.0])
def test_an_alpha_out_of_reach_is_refused(alpha):
    codes = draw_codes(1, 4, bits=16)
    with pytest.raises(ValueError, match="16 of 16 bits"):
        judge(estimate_of(codes), codes, alpha=alpha)


class TestRepeatedBits:
    """Codes that have each bit of a message three times."""

    BOOK = draw_codes(3, 5, bits=3 * BITS, repeats=3)

    def estimates(self, logits):
        return estimate_of(logits > 0)._replace(logits=jnp.asarray(logits, jnp.float32))

    def test_a_bit_is_the_sign_of_the_sum(self):
        strong = np.where(self.BOOK[:1], 5.0, -5.0)
        strong[0, ::3] *= -0.9  # one of three is read wrongly, and less surely than the others together
        (found,) = judge(self.estimates(strong), self.BOOK, repeats=3)
        assert (found.user, found.matched_bits, found.bits) == (0, BITS, BITS)

    def test_tied_bits_are_no_more_evidence_than_one(self):
        """An image without a code may read the same thrice: 45 of 64 must not look like 135 of 192."""
        message = self.BOOK[0, ::3].copy()
        message[:19] ^= True
        tied = np.where(np.repeat(message, 3), 1.0, -1.0)[None]
        (found,) = judge(self.estimates(tied), self.BOOK, repeats=3)
        assert found.verdict == "none"
        assert found.p_value == pytest.approx(exact_p_value(BITS - 19, BITS, 5), rel=1e-9)
        (naive,) = judge(self.estimates(tied), self.BOOK)
        assert naive.verdict == "user"
