"""Sums of ratios over files of one origin, and which files count."""

import numpy as np
import pytest

from latentfp.attribution.evidence import chance, score
from latentfp.attribution.together import MOST, agreeing, one_code, one_image, pool

BITS = 64


def readings(code, files, *, flipped, seed, sure=8):
    """Soft bits of files of one code, each bit wrong with the chance `flipped`."""
    random = np.random.default_rng(seed)
    signs = np.where(code, 1, -1) * np.where(random.random((files, BITS)) < flipped, -1, 1)
    return (signs * random.integers(1, sure + 1, (files, BITS))).astype(np.int8)


def contents(files, seed=0):
    return np.random.default_rng(seed).normal(size=(files, 40))


@pytest.fixture(scope="module")
def code():
    return np.random.default_rng(9).random(BITS) < 0.5


def test_ratios_add_up(code):
    soft = readings(code, 5, flipped=0.3, seed=0)
    found = pool(soft, contents(5), np.zeros(5, bool))
    assert found.counts.all()
    np.testing.assert_array_equal(found.soft[0], soft.astype(int).sum(axis=0))
    alone = chance(soft, score(soft, np.tile(code, (5, 1))))
    together = chance(found.soft, score(found.soft, code[None]))
    assert together[0] < 1e-3 * alone.min()


def test_sums_are_limited(code):
    soft = readings(code, 40, flipped=0.0, seed=0, sure=24)
    found = pool(soft, contents(40), np.zeros(40, bool)).soft
    assert np.abs(found.astype(int)).max() == MOST
    np.testing.assert_array_equal(found[0] > 0, code)


def test_files_of_another_code_are_left_out(code):
    """Three of eight, whichever come first."""
    other = np.random.default_rng(1).random(BITS) < 0.5
    mixed = np.concatenate(
        [readings(who, n, flipped=0.1, seed=n, sure=16) for who, n in ((other, 3), (code, 5))]
    )
    assert agreeing(mixed, np.ones(8, bool)).tolist() == [False] * 3 + [True] * 5
    assert agreeing(mixed[::-1], np.ones(8, bool)).tolist() == [True] * 5 + [False] * 3


def test_what_failed_does_not_count(code):
    soft = readings(code, 4, flipped=0.1, seed=0)
    failed = np.array([False, True, False, False])
    found = pool(soft, contents(4), failed)
    np.testing.assert_array_equal(found.counts, ~failed)
    none = pool(soft, contents(4), np.ones(4, bool))
    assert not none.counts.any()
    assert not none.soft.any()


def test_one_image_counts_once(code):
    """By the file that says most: the second and fourth show what the first and third do."""
    soft = readings(code, 4, flipped=0.2, seed=0)
    soft[[0, 3]] *= 2
    shown = contents(4)
    shown[1] = shown[0] + 0.3 * contents(1, seed=5)[0]
    shown[3] = 0.5 * shown[2]
    assert one_image(soft, shown).tolist() == [-1, 0, 3, -1]
    found = pool(soft, shown, np.zeros(4, bool))
    assert found.counts.tolist() == [True, False, False, True]


def test_readings_of_one_code_are_likelier_of_one(code):
    a, b = readings(code, 2, flipped=0.1, seed=4).astype(int)
    assert one_code(a[None], b[None])[0] > 5
    assert one_code(a[None], -b[None])[0] < -5
    assert one_code(a[None], 0 * b[None])[0] == 0


@pytest.mark.parametrize("files", [2, 8])
def test_foreign_files_accuse_as_rarely_as_promised(code, files):
    """Which files count is chosen after they were read, and costs nothing: codes are drawn without them."""
    random, accused, cases = np.random.default_rng(3), 0, 4000
    for case in range(cases):
        soft = random.integers(-24, 25, (files, BITS)).astype(np.int8)
        found = pool(soft, contents(files, seed=case), np.zeros(files, bool)).soft
        accused += chance(found, score(found, code[None]))[0] <= 0.05
    # 5 % of 4000 are 200, with a standard error of 14.
    assert 100 < accused < 270
