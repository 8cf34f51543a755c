"""The bench of the search at small sizes."""

import json
import sys

import numpy as np
import pytest

from latentfp.attribution.search import Hits
from latentfp.bench import search
from latentfp.bench.search import BookSize
from latentfp.fingerprint.codes import unpack

FIELDS = {"bits": 64, "queries": 6, "top": 3, "repeats": 1, "checked": 3, "seed": 0}


def test_every_size_is_measured_once(tmp_path, monkeypatch):
    result = search.run(sizes=(100, 5000), **FIELDS, workdir=tmp_path)
    assert json.loads((tmp_path / "search.json").read_text()) == result
    assert list(result["sizes"]) == ["100", "5000"]
    for row in result["sizes"].values():
        seconds = row["best_seconds"]
        theirs = min(seconds["faiss heap"], seconds["faiss counting"])
        assert row["faiss / nearest"] == theirs / seconds["nearest"] > 0
        assert row["faiss / best"] == theirs / seconds["best"] > 0
    assert result["memory"]["n"] == 5000
    assert result["memory"]["codes_mib"] == 5000 * 8 / 2**20
    assert 0 <= result["memory"]["nearest_beyond_mib"] <= result["memory"]["best_beyond_mib"] < 1024
    monkeypatch.setattr(search, "time_searches", None)
    assert search.run(sizes=(100, 5000), **FIELDS, workdir=tmp_path) == result


def test_half_of_the_queries_are_registered():
    drawn = search.draw(BookSize(3 * 1000, 64, 41, 5, 0))
    read, codes = unpack(drawn.asked, bits=64), unpack(drawn.book, bits=64)
    least = (read[:, None] != codes[None]).sum(axis=2).min(axis=1)
    # 6.4 bits are wrong on average; the nearest of 3000 strangers has 15 to 18, and below 10 with chance 3e-5
    assert np.mean(least[:21]) < 8
    assert np.all(least[21:] > 10)
    np.testing.assert_array_equal(read[drawn.scores != 0], drawn.scores[drawn.scores != 0] > 0)
    assert set(np.abs(drawn.scores).ravel()) == set(range(25))


def test_plain_numpy_is_a_sort_of_everything(monkeypatch):
    monkeypatch.setattr(search, "CHUNK", 70)
    random = np.random.default_rng(0)
    codes = (random.random((9, 128)) < 0.5)[random.integers(9, size=500)]
    scores = random.integers(-2, 3, 128).astype(np.int8)
    values = (2 * codes.astype(int) - 1) @ scores
    order = np.lexsort((np.arange(500), -values))[:90]
    rows, found = search.plain_best(scores, np.packbits(codes, axis=1), 90)
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_array_equal(found, values[order])


@pytest.mark.parametrize("name", ["nearest", "best"])
def test_a_wrong_answer_stops_the_study(name, monkeypatch):
    right = getattr(search, name)

    def wrong(asked, book, *, top):
        rows, values = right(asked, book, top=top)
        return Hits(rows[:, ::-1], values)

    monkeypatch.setattr(search, name, wrong)
    with pytest.raises(RuntimeError, match=f"{name} of query 0: found rows"):
        search.time_searches(BookSize(3000, 64, 4, 3, 0), 1, 2)


def test_distances_that_are_not_those_of_faiss_stop_the_study(monkeypatch):
    right = search.nearest
    monkeypatch.setattr(
        search,
        "nearest",
        lambda asked, book, *, top: Hits(*(x + 1 for x in right(asked, book, top=top))),
    )
    with pytest.raises(RuntimeError, match="distances to 3000 codes differ from those of faiss heap"):
        search.time_searches(BookSize(3000, 64, 4, 3, 0), 1, 2)


def test_codes_that_are_no_whole_words_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="got 20 bits and the best 3 of 100 codes, expected a multiple of 64"
    ):
        search.run(sizes=(100,), **{**FIELDS, "bits": 20}, workdir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_bench_needs_faiss(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ModuleNotFoundError, match="pip install faiss-cpu"):
        search.run(sizes=(100,), **FIELDS, workdir=tmp_path / "out")
    assert not (tmp_path / "out").exists()
