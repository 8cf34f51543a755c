"""Search over code books, against every value computed and sorted by NumPy."""

import os
import subprocess
import sys

import numpy as np
import pytest

from latentfp.attribution import blocks, search
from latentfp.fingerprint.codes import pack


def bits_of(packed):
    return np.unpackbits(packed, axis=1).astype(np.int64)


def ordered(values, keys, top):
    rows = np.argsort(keys, axis=1, kind="stable")[:, :top]
    return rows, np.take_along_axis(values, rows, axis=1)


def nearest_slowly(queries, book, top):
    distances = (bits_of(queries)[:, None] != bits_of(book)[None]).sum(axis=2)
    return ordered(distances, distances, top)


def best_slowly(scores, book, top):
    signs = 2 * bits_of(book)[:, : scores.shape[1]] - 1
    sums = scores.astype(np.int64) @ signs.T
    return ordered(sums, -sums, top)


def random_codes(random, n, k):
    return pack(random.integers(2, size=(n, k)).astype(bool))


def assert_same(hits, expected):
    np.testing.assert_array_equal(hits.values, expected[1])
    np.testing.assert_array_equal(hits.rows, expected[0])


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 1024 rows, so that small books have many."""
    monkeypatch.setattr(search, "CHUNK", {})
    monkeypatch.setattr(search, "LARGE_CHUNK", 1024)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("k", [20, 32, 64, 128])
@pytest.mark.parametrize(("n", "queries", "top"), [(1, 3, 5), (1000, 1, 1), (2049, 7, 5), (5003, 3, 40)])
def test_the_nearest_codes_and_the_best_scores(k, n, queries, top):
    random = np.random.default_rng(k + n)
    book, asked = random_codes(random, n, k), random_codes(random, queries, k)
    assert_same(search.nearest(asked, book, top=top), nearest_slowly(asked, book, top))
    scores = random.integers(-128, 128, size=(queries, k)).astype(np.int8)
    assert_same(search.best(scores, book, top=top), best_slowly(scores, book, top))


def test_whole_chunks_of_the_usual_size():
    random = np.random.default_rng(0)
    book, asked = random_codes(random, 150_001, 64), random_codes(random, 5, 64)
    assert_same(search.nearest(asked, book, top=5), nearest_slowly(asked, book, 5))


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("top", [1, 5, 1500])
def test_equal_codes_come_in_the_order_of_rows(top):
    book = np.full((3001, 8), 7, np.uint8)
    hits = search.nearest(np.zeros((2, 8), np.uint8), book, top=top)
    np.testing.assert_array_equal(hits.rows, np.tile(np.arange(top), (2, 1)))
    np.testing.assert_array_equal(hits.values, 24)


@pytest.mark.usefixtures("small_chunks")
def test_ties_across_chunks_and_blocks():
    """Few distinct codes: each value occurs in every block and on both sides of every border."""
    random = np.random.default_rng(1)
    book = random_codes(random, 4, 64)[random.integers(4, size=4500)]
    book[[1023, 1024, 2047, 2048, 4499]] = 255
    asked = np.concatenate([np.full((1, 8), 255, np.uint8), random_codes(random, 4, 64)])
    for top in (3, 5, 8):
        assert_same(search.nearest(asked, book, top=top), nearest_slowly(asked, book, top))
    scores = np.stack([np.full(64, 1), np.arange(64) % 3 - 1, np.full(64, 0)]).astype(np.int8)
    assert_same(search.best(scores, book, top=7), best_slowly(scores, book, 7))


@pytest.mark.usefixtures("small_chunks")
def test_codes_that_come_nearer_with_every_row():
    """No early bound helps: every chunk holds better codes than all before it."""
    ones = np.arange(4096)[::-1] * 64 // 4096
    book = pack(np.arange(64) < ones[:, None])
    asked = np.zeros((2, 8), np.uint8)
    assert_same(search.nearest(asked, book, top=6), nearest_slowly(asked, book, 6))


@pytest.mark.parametrize("extreme", [127, -127, -128, 0])
def test_extreme_scores(extreme):
    random = np.random.default_rng(2)
    book, scores = random_codes(random, 500, 128), np.full((2, 128), extreme, np.int8)
    assert_same(search.best(scores, book, top=9), best_slowly(scores, book, 9))


def test_scores_of_one_unit_are_hamming_distances():
    random = np.random.default_rng(3)
    codes = random.integers(2, size=(4, 64)).astype(bool)
    book = random_codes(random, 900, 64)
    soft = search.best((2 * codes - 1).astype(np.int8), book, top=4)
    hard = search.nearest(pack(codes), book, top=4)
    np.testing.assert_array_equal(soft.rows, hard.rows)
    np.testing.assert_array_equal(soft.values, 64 - 2 * hard.values)


def test_more_queries_than_are_compared_at_once(monkeypatch):
    monkeypatch.setattr(search, "TOGETHER", 4)
    random = np.random.default_rng(4)
    book, asked = random_codes(random, 1500, 64), random_codes(random, 11, 64)
    assert_same(search.nearest(asked, book, top=3), nearest_slowly(asked, book, 3))


def test_long_codes_have_smaller_blocks():
    assert blocks.block_rows(words=2, planes=1) == blocks.BLOCK
    assert blocks.block_rows(words=8, planes=7) == 2
    assert blocks.block_rows(words=64, planes=8) == 1
    random = np.random.default_rng(5)
    book, scores = random_codes(random, 700, 500), random.integers(-128, 128, size=(2, 500)).astype(np.int8)
    assert_same(search.best(scores, book, top=4), best_slowly(scores, book, 4))


@pytest.mark.usefixtures("small_chunks")
def test_a_memory_map(tmp_path):
    random = np.random.default_rng(6)
    book, asked = random_codes(random, 2500, 64), random_codes(random, 3, 64)
    book.tofile(tmp_path / "book")
    mapped = np.memmap(tmp_path / "book", np.uint8, "r", shape=book.shape)
    assert_same(search.nearest(asked, mapped, top=5), nearest_slowly(asked, book, 5))


def test_every_other_row_of_a_book():
    random = np.random.default_rng(7)
    book, asked = random_codes(random, 1999, 64)[::2], random_codes(random, 3, 64)[::-1]
    assert_same(search.nearest(asked, book, top=5), nearest_slowly(asked, book, 5))


def test_nothing_to_search():
    asked, book = np.zeros((2, 8), np.uint8), np.zeros((3, 8), np.uint8)
    assert search.nearest(asked, book[:0], top=5).rows.shape == (2, 0)
    assert search.nearest(asked[:0], book, top=5).rows.shape == (0, 3)
    assert search.best(np.zeros((0, 64), np.int8), book, top=2).values.shape == (0, 2)


@pytest.mark.parametrize(
    ("width", "codes", "top", "message"),
    [
        (8, 16, 1, "queries of 8 bytes cannot be compared with codes of 16 bytes: make both"),
        (7, 7, 1, "codes of 7 bytes, expected a multiple of 8 up to 1024: pack"),
        (0, 0, 1, "codes of 0 bytes"),
        (1032, 1032, 1, "codes of 1032 bytes"),
        (8, 8, 0, "top 0, expected at least 1"),
    ],
)
def test_what_cannot_be_searched(width, codes, top, message):
    with pytest.raises(ValueError, match=message):
        search.nearest(np.zeros((1, width), np.uint8), np.zeros((5, codes), np.uint8), top=top)


def test_scores_that_do_not_fit_the_book():
    with pytest.raises(ValueError, match="queries of 16 bytes cannot be compared with codes of 8 bytes"):
        search.best(np.zeros((1, 65), np.int8), np.zeros((5, 8), np.uint8), top=1)


PROGRAM = """
import sys
import jax
import numpy as np
from latentfp.attribution import search

assert jax.device_count() == int(sys.argv[1]), jax.devices()
random = np.random.default_rng(8)
book = random.integers(0, 4, size=(9001, 8), dtype=np.uint8)
hard = search.nearest(book[:6], book, top=12)
soft = search.best(random.integers(-128, 128, size=(6, 64)).astype(np.int8), book, top=12)
np.savez(sys.argv[2], *hard, *soft)
"""


@pytest.mark.slow
def test_the_number_of_devices_cannot_be_seen(tmp_path):
    answers = []
    for devices in (1, 2, 4):
        flags = f"--xla_force_host_platform_device_count={devices}"
        file = tmp_path / f"{devices}.npz"
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(devices), file],
            env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            check=True,
        )
        answers.append(np.load(file))
    random = np.random.default_rng(8)
    book = random.integers(0, 4, size=(9001, 8), dtype=np.uint8)
    scores = random.integers(-128, 128, size=(6, 64)).astype(np.int8)
    expected = [*nearest_slowly(book[:6], book, 12), *best_slowly(scores, book, 12)]
    for found in answers:
        for name, wanted in zip(found.files, expected, strict=True):
            np.testing.assert_array_equal(found[name], wanted)


def test_the_answers_of_faiss():
    faiss = pytest.importorskip("faiss")
    random = np.random.default_rng(9)
    book, asked = random_codes(random, 20_000, 64), random_codes(random, 20, 64)
    index = faiss.IndexBinaryFlat(64)
    index.add(book)
    distances, _ = index.search(asked, 5)
    np.testing.assert_array_equal(search.nearest(asked, book, top=5).values, distances)
