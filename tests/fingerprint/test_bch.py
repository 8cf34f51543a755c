import numpy as np
import pytest

from latentfp.fingerprint import bch
from latentfp.fingerprint.codes import hamming


@pytest.fixture(scope="module")
def code():
    return bch.construct(64, 36)


@pytest.fixture(scope="module")
def messages(code):
    return np.random.default_rng(0).integers(0, 1 << code.message, 400).astype(np.uint64)


def test_sizes_are_those_of_the_literature():
    """Lin and Costello 2004, table 6.1 (lengths 31 and 63), each with one more bit and distance."""
    assert [(c.message, c.distance) for c in bch.family(64)] == [
        *((57, 4), (51, 6), (45, 8), (39, 10), (36, 12), (30, 14)),
        *((24, 16), (18, 22), (16, 24), (10, 28), (7, 32)),
    ]
    assert [(c.message, c.distance) for c in bch.family(32)] == [(26, 4), (21, 6), (16, 8), (11, 12), (6, 16)]


@pytest.mark.parametrize("bits", bch.LENGTHS)
def test_codes_are_those_of_galois(bits):
    """The same words, with the same field; of some messages, for galois takes seconds for long ones."""
    import galois

    for code in bch.family(bits)[:: 8 if bits == 256 else 2]:
        theirs = galois.BCH(bits - 1, code.message)
        assert (int(theirs.generator_poly), int(theirs.d) + 1) == (code.polynomial, code.distance)


def test_words_are_those_of_galois(code, messages):
    import galois

    bits = (messages[:, None] >> np.arange(35, -1, -1, dtype=np.uint64) & np.uint64(1)).astype(np.uint8)
    theirs = np.asarray(galois.BCH(63, 36).encode(galois.GF2(bits))).astype(bool)
    words = bch.encode(code, messages)
    np.testing.assert_array_equal(words[:, :-1], theirs)
    assert (words.sum(axis=1) % 2 == 0).all()


def test_messages_are_the_first_bits(code, messages):
    np.testing.assert_array_equal(bch.number_of(bch.encode(code, messages)[:, :36]), messages)


@pytest.mark.parametrize(("bits", "message"), [(16, 7), (32, 16), (64, 36), (128, 57)])
def test_words_keep_their_distance(bits, message):
    """A linear code: its distance is the least weight. All messages of few ones are tried."""
    found = bch.construct(bits, message)
    ones = np.uint64(1) << np.arange(message, dtype=np.uint64)
    few = np.concatenate([ones, (ones[:, None] | ones[None])[np.triu_indices(message, 1)]])
    weights = bch.encode(found, few).sum(axis=1)
    assert weights.min() >= found.distance
    random = bch.encode(found, np.random.default_rng(1).integers(1, 1 << message, 300).astype(np.uint64))
    apart = hamming(random, random)
    assert apart[apart > 0].min() >= found.distance


def test_wrong_bits_are_corrected_up_to_the_radius(code, messages):
    words, rng = bch.encode(code, messages), np.random.default_rng(2)
    for word in words:
        word[rng.choice(64, 5, replace=False)] ^= True
    found, wrong = bch.correct(code, words)
    np.testing.assert_array_equal(found, messages)
    assert set(wrong) == {4, 5}  # of the first 63


@pytest.mark.parametrize(
    ("bits", "message", "fault"),
    [
        (60, 36, "no BCH code of 60 bits: expected one of 16, 32, 64"),
        (64, 35, r"there are 57 \(distance 4\), 51"),
    ],
)
def test_other_sizes_are_refused(bits, message, fault):
    with pytest.raises(ValueError, match=fault):
        bch.construct(bits, message)
