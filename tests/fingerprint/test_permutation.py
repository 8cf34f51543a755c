import hashlib
import hmac

import numpy as np
import pytest

from latentfp.fingerprint.permutation import ROUNDS, permute, restore

KEY = b"k" * 32


def one_by_one(number, key, width):
    """The network in whole numbers, as its definition says."""
    left, right = width - width // 2, width // 2
    a, b = number >> right, number & (1 << right) - 1
    for i in range(ROUNDS):
        mask = hmac.digest(key, bytes([i]) + b.to_bytes(8), hashlib.sha256)[:8]
        a, b, left, right = b, a ^ int.from_bytes(mask) & (1 << left) - 1, right, left
    return a << right | b


@pytest.mark.parametrize("width", [8, 11])
def test_every_number_has_a_message_of_its_own(width):
    messages = permute(np.arange(1 << width, dtype=np.uint64), key=KEY, width=width)
    assert sorted(messages.tolist()) == list(range(1 << width))


@pytest.mark.parametrize("width", [8, 9, 36, 37, 62])
def test_messages_are_those_of_the_definition_and_lead_back(width):
    numbers = np.random.default_rng(0).integers(0, 1 << width, 50).astype(np.uint64)
    messages = permute(numbers, key=KEY, width=width)
    assert messages.tolist() == [one_by_one(int(n), KEY, width) for n in numbers]
    np.testing.assert_array_equal(restore(messages, key=KEY, width=width), numbers)


def test_another_key_is_another_order():
    numbers = np.arange(1000, dtype=np.uint64)
    same = permute(numbers, key=KEY, width=36) == permute(numbers, key=b"other", width=36)
    assert not same.any()


def test_messages_of_neighbours_are_fair_and_unlike():
    messages = permute(np.arange(20_000, dtype=np.uint64), key=KEY, width=36)
    bits = messages[:, None] >> np.arange(36, dtype=np.uint64) & np.uint64(1)
    # Five standard errors of a share of one half among 20 000.
    np.testing.assert_allclose(bits.mean(axis=0), 0.5, atol=5 * 0.5 / 20_000**0.5)
    np.testing.assert_allclose((bits[1:] != bits[:-1]).mean(axis=0), 0.5, atol=5 * 0.5 / 20_000**0.5)


@pytest.mark.parametrize("width", [7, 63])
def test_other_widths_are_refused(width):
    with pytest.raises(ValueError, match=f"messages of {width} bits, expected 8 … 62"):
        permute(np.zeros(1, np.uint64), key=KEY, width=width)
