from decimal import Decimal, localcontext
from math import comb

import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.attribution.estimate import Estimate, Status
from latentfp.attribution.evidence import family_wise
from latentfp.attribution.ranking import among
from latentfp.attribution.verdict import ALPHA, Kind, Ranked, Registered, judge
from latentfp.fingerprint.codes import draw_codes

BITS, SURE = 64, 5.0


def exact_p_value(matched, bits, users):
    """1 - (1 - P[Bin(bits, 1/2) >= matched])^users in 60 digits."""
    with localcontext(prec=60):
        one = Decimal(sum(comb(bits, m) for m in range(matched, bits + 1))) / 2**bits
        return float(1 - (1 - one) ** users)


def estimate_of(codes, status=None, *, logit=SURE):
    """Estimates that are equally sure of every bit."""
    n = len(codes)
    statuses = [Status.OK] * n if status is None else status
    return Estimate(
        jnp.asarray(codes),
        jnp.where(jnp.asarray(codes), logit, -logit),
        jnp.zeros((n, 2)),
        jnp.zeros(n),
        jnp.asarray(statuses),
        jnp.zeros(np.shape(codes)),
    )


def flip(code, bits):
    wrong = code.copy()
    wrong[:bits] ^= True
    return wrong


@pytest.fixture(scope="module")
def book():
    return draw_codes(1, 20, bits=BITS)


def test_family_wise_chances_keep_their_digits():
    # 1 - (1 - q) would be 0 below 1e-16.
    np.testing.assert_allclose(family_wise(np.array([2.0**-64]), users=1), 2.0**-64, rtol=1e-12)
    np.testing.assert_allclose(family_wise(np.array([2.0**-64]), users=10**6), 10**6 * 2.0**-64, rtol=1e-6)
    np.testing.assert_allclose(family_wise(np.array([0.3, 1.0]), users=3), [1 - 0.7**3, 1])


@pytest.mark.parametrize(("users", "forgiven"), [(1, 13), (1000, 8), (10**6, 5)])
def test_the_default_forgives_what_it_says(users, forgiven):
    assert (
        exact_p_value(BITS - forgiven, BITS, users) <= ALPHA < exact_p_value(BITS - forgiven - 1, BITS, users)
    )


@pytest.mark.parametrize("wrong", [0, 7])
def test_a_users_code_is_found(book, wrong):
    (verdict,) = judge(estimate_of([flip(book[5], wrong)]), among(book))
    best = verdict.ranked[0]
    assert (verdict.kind, verdict.user, best.user, best.matched_bits) == (Kind.USER, 5, 5, BITS - wrong)
    np.testing.assert_allclose(verdict.p_value, exact_p_value(BITS - wrong, BITS, 20), rtol=1e-9)
    likelihood = (BITS - wrong) * np.log(1 / (1 + np.exp(-SURE))) - wrong * np.log(1 + np.exp(SURE))
    np.testing.assert_allclose(best.log_likelihood, likelihood, rtol=1e-9)


def test_users_are_ranked(book):
    (verdict,) = judge(estimate_of([flip(book[5], 3)]), among(book))
    counts = (flip(book[5], 3) == book).sum(axis=1)
    assert [it.matched_bits for it in verdict.ranked] == sorted(counts.tolist(), reverse=True)[:5]
    assert [counts[it.user] for it in verdict.ranked] == [it.matched_bits for it in verdict.ranked]


def test_sure_bits_that_are_no_users_clear_everyone(book):
    (verdict,) = judge(estimate_of([flip(book[5], 14)]), among(book))
    assert (verdict.kind, verdict.user, verdict.ranked[0].matched_bits) == (Kind.NONE, None, BITS - 14)
    assert verdict.p_value > ALPHA
    assert verdict.miss_p_value < 1e-3


def test_unsure_bits_neither_accuse_nor_clear(book):
    """Ratios of 1: a quarter of the bits may well be wrong."""
    (verdict,) = judge(estimate_of([flip(book[5], 17)], logit=1.0), among(book))
    assert (verdict.kind, verdict.user) == (Kind.INCONCLUSIVE, None)
    assert 0.1 < verdict.miss_p_value < 1
    (out_of_distribution,) = judge(
        estimate_of([flip(book[5], 17)], logit=1.0), among(book), out_of_distribution=np.array([True])
    )
    assert out_of_distribution.kind is Kind.INCONCLUSIVE


def test_a_name_needs_a_fit(book):
    """All bits of a user's code are no name where the image is not one of the generator's."""
    (verdict,) = judge(estimate_of([book[5]]), among(book), out_of_distribution=np.array([True]))
    assert (verdict.kind, verdict.ranked[0].user) == (Kind.INCONCLUSIVE, 5)


def test_a_fit_that_leaves_much_unexplained_clears_nobody(book):
    both = estimate_of([flip(book[5], 14), book[6]])
    unexplained = judge(both, among(book), limits=np.zeros(2))
    badly_fitted = judge(both, among(book), tempers=np.array([121.0, 121.0]))
    for verdicts in (unexplained, badly_fitted):
        assert [verdict.kind for verdict in verdicts] == [Kind.INCONCLUSIVE, Kind.USER]


def test_a_likelihood_ratio_counts_who_was_considered(book):
    """2^64 σ(5)^64, of the best of 20 users who are judged three times."""
    (found,) = judge(estimate_of([book[5]]), among(book, bonferroni=3.0))
    exact = BITS * (np.log10(2) - np.log10(1 + np.exp(-SURE))) - np.log10(3 * 20)
    np.testing.assert_allclose(found.log10_lr, exact, rtol=1e-9)
    (unsure,) = judge(estimate_of([book[5]]), among(book), tempers=2500.0)
    assert unsure.p_value == pytest.approx(found.p_value / 3)
    assert -np.log10(20) < unsure.log10_lr < 1


def test_a_larger_alpha_names_more(book):
    wrong = estimate_of([flip(book[5], 14)])
    assert judge(wrong, among(book), alpha=0.01)[0].user == 5


def test_a_tie_is_inconclusive(book):
    twice = np.concatenate([book, book[5:6]])
    (verdict,) = judge(estimate_of([book[5]]), among(twice))
    assert (verdict.kind, verdict.user) == (Kind.INCONCLUSIVE, None)
    assert [it.user for it in verdict.ranked[:2]] == [5, 20]


def test_a_failed_estimate_is_inconclusive(book):
    failed, fine = judge(estimate_of(book[:2], [Status.NONFINITE, Status.OK]), among(book))
    assert (failed.kind, failed.user) == (Kind.INCONCLUSIVE, None)
    assert fine.user == 1


def test_images_are_judged_one_by_one(book):
    codes = np.stack([book[7], ~book[7], book[0]])
    together = judge(estimate_of(codes), among(book))
    assert together == [judge(estimate_of([code]), among(book))[0] for code in codes]
    assert [verdict.user for verdict in together] == [7, None, 0]


@pytest.mark.parametrize("logit", [0.5, pytest.param(5.0, marks=pytest.mark.slow)])
def test_false_accusations_are_as_rare_as_promised(book, logit):
    fair = np.random.default_rng(2).random((20_000, BITS)) < 0.5
    accused = sum(
        it.user is not None for it in judge(estimate_of(fair, logit=logit), among(book), alpha=0.01)
    )
    # At most 1 % of 20 000: 200, and five standard errors of 14 more.
    assert 0 < accused < 270


def test_chances_are_raised_by_what_codes_are_uneven(book):
    (plain,), (raised,) = (
        judge(estimate_of([flip(book[5], 9)]), among(book, bonferroni=bonferroni))
        for bonferroni in (1.0, 10.0)
    )
    np.testing.assert_allclose(raised.p_value, 10 * plain.p_value, rtol=1e-6)


def test_nobody_found_is_nobody_accused():
    """As where the words of an algebraic code that are near belong to nobody."""
    soft = np.full((1, BITS), 20, np.int8)

    def rank(_soft, top=2):
        nobody = np.full((1, top), -1)
        least = np.full((1, top), -20 * BITS)
        return Ranked(nobody, least, np.zeros((1, top, BITS), bool), np.array([20 * (BITS - 30)]))

    (verdict,) = judge(estimate_of(soft > 0), Registered(10, BITS, 1, rank), alpha=0.9)
    assert (verdict.kind, verdict.user, verdict.p_value, verdict.ranked) == (Kind.NONE, None, 1.0, ())


def test_no_registered_user_is_refused(book):
    with pytest.raises(ValueError, match="add a user"):
        judge(estimate_of(book[:1]), among(book[:0]))


@pytest.mark.parametrize("alpha", [1e-6, 1.0])
def test_an_alpha_out_of_reach_is_refused(alpha):
    codes = draw_codes(1, 4, bits=16)
    with pytest.raises(ValueError, match="16 of 16 bits"):
        judge(estimate_of(codes), among(codes), alpha=alpha)


class TestRepeatedBits:
    """Codes that have each bit of a message three times."""

    BOOK = draw_codes(3, 5, bits=3 * BITS, repeats=3)

    def estimates(self, logits):
        return estimate_of(logits > 0)._replace(logits=jnp.asarray(logits, jnp.float32))

    def test_ratios_add_up(self):
        strong = np.where(self.BOOK[:1], 5.0, -5.0)
        strong[0, ::3] *= -0.9  # one of three is read wrongly, and less surely than the others together
        (found,) = judge(self.estimates(strong), among(self.BOOK, repeats=3))
        assert (found.user, found.ranked[0].matched_bits) == (0, BITS)

    def test_tied_bits_are_no_more_evidence_than_one(self):
        """An image without a code may read the same thrice: 45 of 64 must not look like 135 of 192."""
        message = self.BOOK[0, ::3].copy()
        message[:19] ^= True
        tied = np.where(np.repeat(message, 3), 2.0, -2.0)[None]
        (found,) = judge(self.estimates(tied), among(self.BOOK, repeats=3))
        assert found.user is None
        assert found.p_value == pytest.approx(exact_p_value(BITS - 19, BITS, 5), rel=1e-9)
        (naive,) = judge(self.estimates(tied), among(self.BOOK))
        assert naive.user == 0
