import numpy as np
import pytest
from code_distances import hamming

from latentfp.fingerprint import bch


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


# Generator polynomials by length and message, octal: Lin and Costello 2004, table 6.1 and appendix C.
POLYNOMIALS = {
    (16, 11): 0o23,
    (16, 7): 0o721,
    (16, 5): 0o2467,
    (32, 26): 0o45,
    (32, 21): 0o3551,
    (32, 16): 0o107657,
    (32, 11): 0o5423325,
    (32, 6): 0o313365047,
    (64, 57): 0o103,
    (64, 51): 0o12471,
    (64, 45): 0o1701317,
    (64, 39): 0o166623567,
    (64, 36): 0o1033500423,
    (64, 30): 0o157464165547,
    (64, 24): 0o17323260404441,
    (64, 18): 0o1363026512351725,
    (64, 16): 0o6331141367235453,
    (64, 10): 0o472622305527250155,
    (64, 7): 0o5231045543503271737,
}


def test_polynomials_are_those_of_the_literature():
    found = {(it.bits, it.message): it.polynomial for bits in (16, 32, 64) for it in bch.family(bits)}
    assert found == POLYNOMIALS


@pytest.mark.parametrize("bits", [128, 256])
def test_polynomials_divide_the_word_of_all_positions(bits):
    """x^n - 1, as the polynomial of a cyclic code does; g has the degree of what a message leaves."""
    for code in bch.family(bits):
        assert remainder(1 << bits - 1 | 1, code.polynomial) == 0
        assert code.polynomial.bit_length() - 1 == bits - 1 - code.message


def remainder(dividend, divisor):
    """Bit by bit."""
    for place in range(dividend.bit_length() - divisor.bit_length(), -1, -1):
        if dividend >> place + divisor.bit_length() - 1 & 1:
            dividend ^= divisor << place
    return dividend


def test_words_are_multiples_of_the_polynomial(code, messages):
    words = bch.encode(code, messages)
    for word, message in zip(words[:40], messages[:40].tolist(), strict=True):
        number = int("".join("01"[int(bit)] for bit in word[:-1]), 2)
        assert number >> code.bits - 1 - code.message == message
        assert remainder(number, code.polynomial) == 0
    assert (words.sum(axis=1) % 2 == 0).all()


@pytest.mark.parametrize("bits", [16, 64, 256])
def test_the_field_is_one(bits):
    """Products against those of polynomials, and every number but 0 has an inverse."""
    field, random = bch.field(bits), np.random.default_rng(3)
    x, y = random.integers(bits, size=(2, 200)).astype(np.uint8)
    for a, b, product in zip(x.tolist(), y.tolist(), field.times(x, y).tolist(), strict=True):
        whole = 0
        for i in range(8):
            whole ^= (a << i) * (b >> i & 1)
        assert product == remainder(whole, bch.PRIMITIVE[bits])
    every = np.arange(1, bits, dtype=np.uint8)
    assert (field.times(every, field.over(np.ones_like(every), every)) == 1).all()


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


@pytest.mark.parametrize(("message", "radius"), [(7, 2), (5, 3)])
def test_correction_finds_the_nearest_word_or_none(message, radius):
    """Every word of 16 bits against all words of the code."""
    code = bch.construct(16, message)
    every = np.unpackbits(np.arange(2**16, dtype=">u2").view(np.uint8).reshape(-1, 2), axis=1).astype(bool)
    words = bch.encode(code, np.arange(1 << message, dtype=np.uint64))
    apart = hamming(every & (np.arange(16) < 15), words & (np.arange(16) < 15))
    found, wrong = bch.correct(code, every)
    near = apart.min(axis=1) <= radius
    assert near.any()
    assert not near.all()
    np.testing.assert_array_equal(wrong, np.where(near, apart.min(axis=1), -1))
    np.testing.assert_array_equal(found[near], apart.argmin(axis=1)[near])


@pytest.mark.parametrize(("bits", "message"), [(128, 29), (256, 45)])
def test_long_words_are_corrected(bits, message):
    code, random = bch.construct(bits, message), np.random.default_rng(4)
    messages = random.integers(0, 1 << message, 50).astype(np.uint64)
    words, radius = bch.encode(code, messages), (code.distance - 2) // 2
    for word in words:
        word[random.choice(bits - 1, radius, replace=False)] ^= True
    found, wrong = bch.correct(code, words)
    np.testing.assert_array_equal(found, messages)
    assert set(wrong) == {radius}


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
