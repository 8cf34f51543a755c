import itertools

import numpy as np
import pytest

from latentfp.attribution.list_decoding import decode
from latentfp.fingerprint import bch


@pytest.fixture(scope="module")
def code():
    return bch.construct(64, 36)


def marked(code, n, seed):
    messages = np.random.default_rng(seed).integers(0, 1 << code.message, n).astype(np.uint64)
    return messages, 2 * bch.encode(code, messages).astype(int) - 1


def test_the_best_words_of_a_small_code_are_found():
    """Against all 128 words. A list of order two holds the best one nearly always, and never a better one."""
    small = bch.construct(16, 7)
    words = 2 * bch.encode(small, np.arange(128, dtype=np.uint64)).astype(int) - 1
    soft = np.random.default_rng(0).integers(-30, 31, (300, 16)).astype(np.int8)
    scores = soft.astype(int) @ words.T
    found = decode(small, soft, top=3)
    np.testing.assert_array_equal(
        found.scores, np.take_along_axis(scores, found.messages.astype(int), axis=1)
    )
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert all(len(set(row)) == 3 for row in found.messages)
    assert (found.scores[:, 0] == scores.max(axis=1)).mean() > 0.98


def test_every_reading_within_the_radius_finds_its_word(code):
    """Equally sure bits, of which any five are wrong: where a list alone would fail half of the time."""
    messages, signs = marked(code, 400, seed=1)
    rng = np.random.default_rng(2)
    for i, row in enumerate(signs):
        row[rng.choice(64, i % 6, replace=False)] *= -1
    np.testing.assert_array_equal(decode(code, (20 * signs).astype(np.int8)).messages[:, 0], messages)


def test_soft_bits_correct_beyond_the_radius(code):
    messages, signs = marked(code, 1000, seed=3)
    ratios = 2 * (signs + 0.7 * np.random.default_rng(4).normal(size=signs.shape)) / 0.49
    soft = np.clip(4 * ratios, -24, 24).astype(np.int8)
    right = decode(code, soft).messages[:, 0] == messages
    beyond = ((soft > 0) != (signs > 0)).sum(axis=1) > 5
    assert beyond.sum() > 200
    assert right.mean() > 0.97
    assert right[beyond].mean() > 0.9


@pytest.mark.parametrize("n", [1, 5])
def test_images_are_decoded_one_by_one(code, n):
    messages, signs = marked(code, n, seed=5)
    soft = (signs * np.random.default_rng(6).integers(1, 25, signs.shape)).astype(np.int8)
    together = decode(code, soft)
    for i, (one, other) in itertools.product(range(n), zip(together, together, strict=True)):
        np.testing.assert_array_equal(one[i], other[i])
    np.testing.assert_array_equal(together.messages[:, 0], messages)
