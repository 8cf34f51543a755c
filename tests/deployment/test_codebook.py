import itertools

import numpy as np
import pytest
from code_distances import hamming
from linear_space import write_deployment

from latentfp.attribution.verdict import p_values
from latentfp.choices import Coding
from latentfp.deployment import codebook
from latentfp.deployment.codebook import Codebook, CodeFacts, CodeKind, assign, registered
from latentfp.deployment.deployment import create, open_deployment
from latentfp.deployment.secret import Secret
from latentfp.fingerprint import bch
from latentfp.fingerprint.codes import draw_codes, pack, unpack

SECRET, OTHER = Secret(b"s" * 32), Secret(b"o" * 32)


def algebraic(secret: Secret | None = SECRET, identity="a", repeats=1):
    code = bch.construct(64, 36)
    facts = CodeFacts(CodeKind.BCH, code.message, f"{code.polynomial:x}")
    return Codebook(facts, 64 * repeats, repeats, code.distance * repeats, identity, secret)


def drawn(secret):
    return Codebook(CodeFacts(CodeKind.RANDOM), 64, 1, 16, "a", secret)


def nobody():
    return np.zeros((0, 8), np.uint8)


def codes_of(book, first, count, before=nobody):
    return unpack(assign(book, None, first, count, before), bits=book.bits)


def test_algebraic_codes_are_masked_words_apart():
    codes = codes_of(algebraic(), 1, 500)
    distances = hamming(codes, codes)[~np.eye(500, dtype=bool)]
    assert distances.min() >= 12
    words = codes ^ algebraic().mask()
    np.testing.assert_array_equal(bch.encode(algebraic().bch, bch.number_of(words[:, :36])), words)


def test_codes_do_not_depend_on_who_is_added_together():
    together = codes_of(algebraic(), 1, 30)
    np.testing.assert_array_equal(codes_of(algebraic(), 11, 20), together[10:])


@pytest.mark.parametrize("other", [algebraic(OTHER), algebraic(identity="b")])
def test_another_secret_or_deployment_has_other_codes(other):
    a, b = codes_of(algebraic(), 1, 200), codes_of(other, 1, 200)
    # Pairs of codes that have nothing to do with each other: 32 bits of 64, 5 standard errors of a mean.
    assert abs((a != b).sum(axis=1).mean() - 32) < 5 * 4 / 200**0.5


def test_a_users_code_is_even_over_secrets():
    """Of user 1 over many secrets, which is what p-values rest on; a bare word of a linear code is not."""
    codes = np.concatenate([codes_of(algebraic(Secret(bytes([i]) * 32)), 1, 1) for i in range(256)])
    np.testing.assert_allclose(codes.mean(axis=0), 0.5, atol=5 * 0.5 / 16)


def test_repeated_words_are_repeated():
    codes = codes_of(algebraic(repeats=3), 1, 5)
    np.testing.assert_array_equal(codes, codes[:, ::3].repeat(3, axis=1))


def test_random_codes_follow_from_the_secret_where_there_is_one():
    np.testing.assert_array_equal(codes_of(drawn(SECRET), 1, 5), codes_of(drawn(SECRET), 1, 5))
    assert (codes_of(drawn(SECRET), 1, 5) != codes_of(drawn(OTHER), 1, 5)).any()
    assert (codes_of(drawn(None), 1, 5) != codes_of(drawn(None), 1, 5)).any()
    more = codes_of(drawn(SECRET), 3, 3, lambda: pack(codes_of(drawn(SECRET), 1, 2)))
    np.testing.assert_array_equal(more, codes_of(drawn(SECRET), 1, 5)[2:])


def test_algebraic_codes_need_the_secret_and_take_no_seed():
    with pytest.raises(ValueError, match="follow from the deployment's secret, and none is given"):
        codes_of(algebraic(None), 1, 1)
    with pytest.raises(ValueError, match="leave the seed out"):
        assign(algebraic(), 5, 1, 1, nobody)


def test_no_more_users_than_words():
    assert len(codes_of(algebraic(), 2**36 - 1, 2)) == 2
    with pytest.raises(ValueError, match=r"only 2\^36 users have codes"):
        assign(algebraic(), None, 2**36, 2, nobody)


class TestRegistered:
    def soft(self, codes, wrong=0):
        soft = np.where(codes, 20, -20).astype(np.int8)
        soft[:, :wrong] *= -1
        return soft

    def test_decoding_and_searching_agree(self, monkeypatch):
        book = algebraic()
        codes = codes_of(book, 1, 100)
        soft = self.soft(codes[[0, 42, 99]], wrong=4)
        searched = registered(book, lambda: pack(codes), users=100)
        monkeypatch.setattr(codebook, "SEARCHED", 10)
        decoded = registered(book, nobody, users=100)
        for found in (searched.rank(soft), decoded.rank(soft)):
            assert found.users[:, 0].tolist() == [0, 42, 99]
            assert found.scores[:, 0].tolist() == [20 * (64 - 8)] * 3
            np.testing.assert_array_equal(found.messages[:, 0], codes[[0, 42, 99]])
            assert found.bound.tolist() == found.scores[:, 0].tolist()

    def test_words_of_nobody_are_not_users(self, monkeypatch):
        """One of 2^36 users is found in no more time; a user who is not registered is nobody."""
        monkeypatch.setattr(codebook, "SEARCHED", 10)
        book = algebraic()
        last = codes_of(book, 2**36, 1)
        found = registered(book, nobody, users=2**36).rank(self.soft(last, wrong=5))
        assert found.users[0, 0] == 2**36 - 1
        found = registered(book, nobody, users=100).rank(self.soft(last))
        assert found.users[0, 0] == -1
        assert found.bound[0] == 64 * 20

    def test_balanced_codes_raise_chances(self):
        balanced = drawn(None)._replace(balanced=True)
        codes = draw_codes(0, 3, bits=64)
        assert registered(drawn(None), lambda: pack(codes), users=3).bonferroni == 1
        # 64 choose 32 of 2^64
        assert registered(balanced, lambda: pack(codes), users=3).bonferroni == pytest.approx(
            10.0657, rel=1e-4
        )
        assert registered(algebraic()._replace(balanced=True), lambda: pack(codes), users=3).bonferroni == 1

    @pytest.mark.parametrize("kind", ["sure", "any"])
    def test_p_values_of_balanced_codes_hold(self, kind):
        """Against all 924 balanced codes of 12 bits, for images of every kind: never more often than said."""
        book = Codebook(CodeFacts(CodeKind.RANDOM), 12, 1, 1, "a", None, balanced=True)
        every = np.array([code for code in itertools.product([0, 1], repeat=12) if sum(code) == 6], bool)
        draw = np.random.default_rng(2)
        images = draw.integers(-24, 25, (8, 12)) if kind == "any" else 20 * (2 * every[::120].astype(int) - 1)
        for soft in images.astype(np.int8):
            reached = np.where(every, soft, -soft.astype(int)).sum(axis=1)
            scores = np.unique(reached)
            among = registered(book, lambda: pack(every[:1]), users=1)
            p = p_values(np.repeat(soft[None], len(scores), axis=0), scores, among)
            as_often = (reached[None] >= scores[:, None]).mean(axis=1)
            assert (as_often <= p * (1 + 1e-9)).all()
            assert p.min() < 0.2  # and says something


def test_codes_of_ones_and_zeros_are_balanced_and_others_are_not(tmp_path, settings):
    """A one changes the image, a zero does not: users would get images of different quality."""
    for coding, spread in ((Coding.BINARY, False), (Coding.ANTIPODAL, True)):
        made = create(tmp_path / coding.value, **{**settings, "coding": coding, "min_distance": 1})
        made.registry.add([f"user {i}" for i in range(30)], seed=1)
        _, codes = open_deployment(made.path).registry.codes()
        assert (len(set(codes.sum(axis=1))) > 1) is spread


def test_a_deployment_of_algebraic_codes(tmp_path, monkeypatch):
    """Through fit, the registry and the manifest."""
    from latentfp.deployment import fitting

    plain = write_deployment(tmp_path / "plain")
    generator = open_deployment(plain).manifest.generator.name
    design = {"sigma": 1.0, "shift": 4, "bits": 32, "samples": 500}
    path, key = tmp_path / "deployment", tmp_path / "key"
    made = fitting.fit(path, generator=generator, codes="bch", message=16, secret=key, **design)
    assert (made.manifest.codes.kind, made.manifest.codes.message, made.manifest.min_distance) == (
        "bch",
        16,
        8,
    )
    made.registry.add(["alice", "bob"])
    monkeypatch.setenv("LATENTFP_SECRET", str(key))
    opened = open_deployment(path)
    _, codes = opened.registry.codes()
    np.testing.assert_array_equal(codes, codes_of(opened.codebook, 1, 2))
    for wrong, fault in (
        ({"codes": "bch"}, "need a secret"),
        ({"codes": "bch", "secret": key, "min_distance": 3}, "have a distance of their own"),
        ({"codes": "random", "message": 16}, "random codes have no shorter message"),
        ({"codes": "bch", "secret": key, "message": 17}, r"there are 26 \(distance 4\)"),
    ):
        with pytest.raises(ValueError, match=fault):
            fitting.fit(tmp_path / "x", generator=generator, **{**design, **wrong})
