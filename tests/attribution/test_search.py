import subprocess
import sys

import numpy as np
import pytest

from latentfp.attribution import search
from latentfp.attribution.search import STEP, best, nearest
from latentfp.fingerprint.codes import pack


def brute_force(scores, codes, top):
    """Rows and scores by sorting everything."""
    values = scores.astype(int) @ (2 * codes.astype(int) - 1).T
    rows = np.lexsort((np.broadcast_to(np.arange(len(codes)), values.shape), -values), axis=1)[:, :top]
    return rows, np.take_along_axis(values, rows, axis=1)


def draw(n, bits, queries, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n, bits)) < 0.5, rng.integers(-127, 128, (queries, bits)).astype(np.int8)


@pytest.mark.parametrize(
    ("n", "bits", "queries", "top"),
    [(1, 64, 1, 3), (300, 20, 7, 5), (STEP + 1, 64, 3, 1), (3 * STEP + 17, 128, 5, 6), (9000, 32, 2, 1024)],
)
def test_the_best_are_those_of_sorting_everything(n, bits, queries, top):
    codes, scores = draw(n, bits, queries)
    found = best(scores, pack(codes), top=top)
    rows, values = brute_force(scores, codes, top)
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.rows, rows)


@pytest.mark.parametrize("bits", [8, 64])
def test_ties_go_to_the_lower_row(bits, monkeypatch):
    """Few different codes and small scores, so most are ties, within parts and across them."""
    monkeypatch.setattr(search, "PART", STEP)
    rng = np.random.default_rng(1)
    codes = (rng.random((6, bits)) < 0.5)[rng.integers(6, size=5 * STEP + 3)]
    scores = rng.integers(-1, 2, (4, bits)).astype(np.int8)
    found = best(scores, pack(codes), top=700)
    np.testing.assert_array_equal(found.rows, brute_force(scores, codes, 700)[0])
    same = best(scores, pack(np.repeat(codes[:1], 9000, axis=0)), top=5)
    np.testing.assert_array_equal(same.rows, np.tile(np.arange(5), (4, 1)))


@pytest.mark.parametrize("bits", [20, 64, 128])
def test_nearest_are_those_that_differ_least(bits):
    codes, _ = draw(5000, bits, 1)
    queries, _ = draw(300, bits, 1, seed=2)
    found = nearest(pack(queries), pack(codes), top=4)
    distances = (queries[:, None] != codes[None]).sum(axis=2)
    np.testing.assert_array_equal(found.values, np.sort(distances, axis=1)[:, :4])
    np.testing.assert_array_equal(found.rows, np.argsort(distances, axis=1, kind="stable")[:, :4])


def test_a_book_in_a_file_is_read_part_by_part(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "PART", STEP)
    monkeypatch.setattr(search, "PARTS", 2)
    codes, scores = draw(5 * STEP, 64, 3)
    pack(codes).tofile(tmp_path / "book")
    book = np.memmap(tmp_path / "book", np.uint8, "r", shape=(5 * STEP, 8))
    np.testing.assert_array_equal(best(scores, book, top=3).rows, brute_force(scores, codes, 3)[0])


def test_no_queries_are_a_request_too():
    assert best(np.zeros((0, 64), np.int8), pack(draw(9, 64, 1)[0]), top=2).rows.shape == (0, 2)


@pytest.mark.parametrize("top", [0, 1025])
def test_too_many_asked_for_are_refused(top):
    codes, scores = draw(9, 64, 1)
    with pytest.raises(ValueError, match=f"the best {top} codes asked for, expected 1 … 1024"):
        best(scores, pack(codes), top=top)


def test_other_widths_are_refused():
    codes, scores = draw(9, 64, 1)
    with pytest.raises(ValueError, match="scores of 64 bits for codes packed in 128"):
        best(scores, pack(draw(9, 128, 1)[0]), top=1)
    with pytest.raises(ValueError, match="queries of 16 bytes for codes of 8"):
        nearest(pack(draw(9, 128, 1)[0]), pack(codes), top=1)


DEVICES = """
import numpy as np
from latentfp.attribution import search
search.PART = search.STEP
rng = np.random.default_rng(3)
codes = (rng.random((50, 64)) < 0.5)[rng.integers(50, size=7 * search.STEP + 5)]
scores = rng.integers(-24, 25, (9, 64)).astype(np.int8)
found = search.best(scores, np.packbits(codes, axis=1), top=40)
print(found.rows.tolist(), found.values.tolist())
"""


@pytest.mark.slow
def test_any_number_of_devices_gives_the_same_answer(monkeypatch):
    answers = set()
    for devices in (1, 2, 3, 4):
        monkeypatch.setenv("XLA_FLAGS", f"--xla_force_host_platform_device_count={devices}")
        done = subprocess.run([sys.executable, "-c", DEVICES], capture_output=True, text=True, check=True)
        answers.add(done.stdout)
    assert len(answers) == 1
