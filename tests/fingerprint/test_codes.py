import hashlib
import time

import numpy as np
import pytest
from code_distances import hamming

from latentfp.fingerprint.codes import balance, check_length, draw_codes, fair_bits, pack, unpack


@pytest.mark.parametrize("bits", [7, 8, 64, 65, 100])
def test_pack_and_back(bits):
    codes = np.random.default_rng(bits).random((5, bits)) < 0.5
    packed = pack(codes)
    assert packed.shape == (5, 8 * -(-bits // 64))
    np.testing.assert_array_equal(unpack(packed, bits=bits), codes)


def test_the_first_bit_is_the_highest():
    code = np.zeros((1, 10), dtype=bool)
    code[0, [0, 9]] = True
    assert pack(code).tolist() == [[0b1000_0000, 0b0100_0000, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize(("bits", "distance"), [(64, None), (64, 20), (32, None), (15, 3)])
def test_codes_are_far_apart(bits, distance):
    codes = draw_codes(1, 40, bits=bits, min_distance=distance)
    assert codes.shape == (40, bits)
    distances = hamming(codes, codes)[~np.eye(40, dtype=bool)]
    assert distances.min() >= (bits // 4 if distance is None else distance)


@pytest.mark.parametrize(
    ("bits", "repeats", "distance", "least"),
    [(192, 3, None, 48), (192, 3, 49, 51), (48, 3, 10, 12), (32, 2, 6, 6), (20, 4, 3, 4)],
)
def test_repeated_codes_are_messages_repeated(bits, repeats, distance, least):
    """Messages keep the distance ceil(distance / repeats)."""
    codes = draw_codes(1, 10, bits=bits, min_distance=distance, repeats=repeats)
    messages = codes[:, ::repeats]
    np.testing.assert_array_equal(codes, np.repeat(messages, repeats, axis=1))
    assert hamming(codes, codes)[~np.eye(10, dtype=bool)].min() >= least


def bits_of(text, count):
    """One by one, as the definition says."""
    octets = hashlib.shake_256(text.encode()).digest(count)
    return [octets[i // 8] >> 7 - i % 8 & 1 for i in range(count)]


@pytest.mark.parametrize("bits", [12, 13])
@pytest.mark.parametrize("balanced", [False, True])
def test_codes_are_those_of_the_definition(bits, balanced):
    """The first candidate of every user, where no distance refuses one."""
    for user, code in enumerate(draw_codes(3, 5, bits=bits, min_distance=1, balanced=balanced)):
        key = f"latentfp/codes/3/{user}/0"
        if balanced:
            octets = hashlib.shake_256(key.encode()).digest(8 * bits)
            lots = [int.from_bytes(octets[8 * i : 8 * i + 8], "little") for i in range(bits)]
            expected = [lot in sorted(lots)[: bits // 2] for lot in lots]
        else:
            expected = bits_of(key, bits)
        assert code.tolist() == expected


def written(codes):
    return ["".join("01"[int(bit)] for bit in code) for code in codes]


def test_codes_stay_those_of_this_version():
    """A seed gives the same users the same codes for ever; a code repeated is a message repeated."""
    codes = draw_codes(12, 3, bits=12)
    assert written(codes) == ["010011111100", "100001010011", "000001011100"]
    odd = draw_codes(5, 2, bits=17, min_distance=3)
    assert written(odd) == ["01011100100101100", "11100001110111101"]
    whole = hashlib.sha256(draw_codes(8, 200, bits=64).tobytes()).hexdigest()
    assert whole == "b90e1f91c3ef6735017dcea76bbe32e4ac91e5e90574513649785c06be73d071"
    np.testing.assert_array_equal(draw_codes(12, 3, bits=36, repeats=3), codes.repeat(3, axis=1))
    balanced = draw_codes(12, 3, bits=12, balanced=True)
    assert written(balanced) == ["100011110010", "010100111001", "011010011010"]
    assert written([fair_bits(bytes(32), 12)]) == ["111101011001"]


@pytest.mark.parametrize(("bits", "repeats"), [(64, 1), (17, 1), (34, 2)])
def test_balanced_codes_have_as_many_ones_as_zeros(bits, repeats):
    codes = draw_codes(2, 200, bits=bits, min_distance=1, repeats=repeats, balanced=True)
    assert (codes[:, ::repeats].sum(axis=1) == bits // repeats // 2).all()
    # Five standard errors of a share of one half.
    np.testing.assert_allclose(
        codes.mean(axis=0), bits // repeats // 2 / (bits // repeats), atol=5 * 0.5 / 200**0.5
    )


def test_balanced_codes_are_even_among_all_of_them():
    """Of four bits there are six, each drawn as often, also for a user after another."""
    codes = np.concatenate(
        [draw_codes(seed, 2, bits=4, min_distance=2, balanced=True) for seed in range(600)]
    )
    for user in range(2):
        _, times = np.unique(codes[user::2], axis=0, return_counts=True)
        assert len(times) == 6
        np.testing.assert_allclose(times, 100, atol=5 * (600 * 5 / 36) ** 0.5)


def test_a_distance_of_all_bits_is_reached():
    """Of 8 bits at distance 8 there are a code and its complement."""
    a, b = draw_codes(0, 2, bits=8, min_distance=8)
    np.testing.assert_array_equal(a, ~b)


def test_the_share_of_balanced_codes():
    every = np.arange(1 << 9)[:, None] >> np.arange(9) & 1
    for bits in (8, 9):
        assert balance(bits) == (every[: 1 << bits, :bits].sum(axis=1) == bits // 2).mean()


def test_lengths_of_which_there_are_codes():
    check_length(bits=6, repeats=3)


def test_repeated_codes_keep_away_from_foreign_existing_ones():
    existing = draw_codes(4, 10, bits=24, min_distance=2)
    added = draw_codes(5, 8, bits=24, min_distance=4, existing=existing, repeats=2)
    assert hamming(added, existing).min() >= 4
    assert hamming(added, added)[~np.eye(8, dtype=bool)].min() >= 4


def test_every_bit_is_fair():
    codes = draw_codes(2, 2000, bits=16, min_distance=1)
    # 5 standard errors of a share of one half.
    np.testing.assert_allclose(codes.mean(axis=0), 0.5, atol=5 * 0.5 / 2000**0.5)
    ones = codes.sum(axis=1)
    assert 1.6 < ones.std() < 2.4  # 2 for independent bits, 0 for balanced ones


def test_users_added_later_get_the_codes_they_would_have_got():
    together = draw_codes(3, 30, bits=24)
    first = draw_codes(3, 12, bits=24)
    later = draw_codes(3, 18, bits=24, existing=first)
    np.testing.assert_array_equal(np.concatenate([first, later]), together)


def test_codes_keep_away_from_foreign_existing_ones():
    existing = draw_codes(4, 50, bits=16, min_distance=2)
    added = draw_codes(5, 20, bits=16, min_distance=4, existing=existing)
    assert hamming(added, existing).min() >= 4


def test_seed_and_index_decide():
    assert (draw_codes(6, 3, bits=64) == draw_codes(6, 3, bits=64)).all()
    assert (draw_codes(6, 3, bits=64) != draw_codes(7, 3, bits=64)).any(axis=1).all()


def test_no_codes_are_a_request_too():
    assert draw_codes(0, 0, bits=8).shape == (0, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 1}, "at least 2"),
        ({"bits": 8, "min_distance": 0}, "1 … 8"),
        ({"bits": 9, "min_distance": 10}, "1 … 9"),
        ({"bits": 8, "repeats": 3}, "got repeats 3, expected 1 or more that divide the 8 bits"),
        ({"bits": 8, "repeats": 0}, "got repeats 0"),
        ({"bits": 8, "repeats": -2}, "got repeats -2"),
        ({"bits": 3, "repeats": 3}, "got 3 bits, expected at least 6"),
        ({"bits": 9, "repeats": 3, "min_distance": 10}, "1 … 9"),
        ({"bits": 8, "existing": np.zeros((2, 9), dtype=bool)}, "expected 8"),
    ],
)
def test_an_impossible_request_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        draw_codes(0, 3, **options)


def test_a_negative_number_of_codes_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        draw_codes(0, -1, bits=8)


def test_an_unreachable_request_says_how_far_it_came():
    # Of 8 bits at distance 8 there are a code and its complement, no third.
    with pytest.raises(ValueError, match="only 2 of 3"):
        draw_codes(0, 3, bits=8, min_distance=8)


def test_thousands_of_users_are_quick():
    start = time.process_time()
    codes = draw_codes(8, 5000, bits=64)
    # 0.6 s of the processor, however busy; ten times that: the comparison is no longer vectorised.
    assert time.process_time() - start < 6
    assert (hamming(codes[:500], codes) + 64 * np.eye(500, 5000, dtype=int)).min() >= 16
