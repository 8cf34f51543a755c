"""Capacity on readings whose truth is known, and the study on a linear generator."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import small_study
from linear_space import write_deployment

from latentfp.augment.suites import suite
from latentfp.choices import Method
from latentfp.report.capacity import READ_BY, write_capacity
from latentfp.runtime.processes import Share
from latentfp.studies import capacity, readings
from latentfp.studies.capacity import Settings, rates

USERS = (1, 1000, 10**6, 10**9)


def test_named_are_as_many_as_the_binomial_tails_say():
    """64 equally sure bits forgive 13 wrong ones of 1 user, 8 of 10^3, 5 of 10^6, 2 of 10^9."""
    codes = np.random.default_rng(0).integers(2, size=(16, 64)).astype(bool)
    read = codes.copy()
    for i, row in enumerate(read):
        row[:i] ^= True  # file i has i wrong bits
    found = rates((24 * (2 * read.astype(int) - 1)).astype(np.int8), codes, Settings("", (), 16, USERS, 1e-6))
    assert found["images"] == 16
    assert [cell["files"] for cell in found["named"]] == [14, 9, 6, 3]
    assert found["named"][1]["share"] == 9 / 16
    assert found["bit_accuracy"] == pytest.approx(1 - 7.5 / 64)


def test_files_of_one_code_are_named_together():
    """Eight readings with 16 wrong bits each: none is named alone."""
    random = np.random.default_rng(0)
    codes = random.integers(2, size=(2, 64)).astype(bool).repeat(8, axis=0)
    read = codes.copy()
    for row in read:
        row[random.permutation(64)[:16]] ^= True
    soft = (8 * (2 * read.astype(int) - 1)).astype(np.int8)
    alone = rates(soft, codes, Settings("", (), 16, USERS, 1e-6))
    assert [cell["files"] for cell in alone["named"]] == [0, 0, 0, 0]
    together = rates(soft, codes, Settings("", (), 16, USERS, 1e-6, files=8))
    assert together["images"] == 2
    assert together["named"][1]["files"] == 2


def test_cases_are_whole(tmp_path):
    with pytest.raises(ValueError, match="no whole number of cases of 8 files"):
        small_study.run(
            capacity,
            Settings(str(write_deployment(tmp_path)), ("codecs",), 3, USERS, 1e-2, 8),
            tmp_path,
            seed=1,
        )


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("capacity")
    settings = Settings(str(write_deployment(folder)), ("codecs",), 3, USERS, 1e-2)
    return settings, folder / "study", small_study.run(capacity, settings, folder / "study", seed=1)


def test_every_attack_is_a_row_and_clean_files_are_named(measured):
    rows = measured[2]["rows"]
    assert [row["attack"] for row in rows] == [attack.name for attack in suite("codecs")]
    assert rows[0]["bit_accuracy"] == 1
    assert rows[0]["named"][1]["files"] == 3
    for row in rows:
        files = [cell["files"] for cell in row["named"]]
        assert files == sorted(files, reverse=True), "more users are never easier"


def test_nothing_is_read_twice(measured, monkeypatch):
    given, workdir, result = measured
    monkeypatch.setattr(readings, "answers", None)
    assert small_study.run(capacity, given, workdir, seed=1) == result
    with pytest.raises(TypeError, match="not callable"):  # what another method reads is something else
        small_study.run(capacity, given._replace(method="multistart"), workdir, seed=1)


def test_two_processes_measure_the_same(measured, tmp_path, monkeypatch):
    given, _, result = measured
    read, files = readings.answers, []

    def counted(*arguments, **settings):
        files.append(len(arguments[2]))
        return read(*arguments, **settings)

    monkeypatch.setattr(readings, "answers", counted)
    assert small_study.run(capacity, given, tmp_path, seed=1, share=Share(1, 2)) is None
    half = sum(files)
    other = small_study.run(capacity, given, tmp_path, seed=1, share=Share(0, 2))
    assert other is not None
    assert {**other, "seconds": result["seconds"]} == result
    assert 0 < half < sum(files) == 3 * len(suite("codecs"))


def test_an_attack_alone_has_a_page_and_no_clean_curve(measured, tmp_path):
    only = [row for row in measured[2]["rows"] if row["attack"] == "JPEG 50"]
    alone = {**measured[2], "rows": only, "suites": ["codecs/JPEG 50"], "files": 8}
    text = write_capacity(tmp_path, alone).read_text()
    assert "| JPEG 50 |" in text
    assert "3 cases of 8 files of one origin" in text
    curves = (tmp_path / "capacity.svg").read_text()
    assert "codecs" in curves
    assert "clean" not in curves


def test_the_page_knows_every_method():
    assert set(READ_BY) == set(Method)


def test_the_page_and_the_tidy_table(measured, tmp_path):
    text = write_capacity(tmp_path, measured[2]).read_text()
    assert "## codecs" in text
    assert "| JPEG 95 |" in text
    table = pq.read_table(tmp_path / "capacity.parquet").to_pylist()
    assert len(table) == len(suite("codecs")) * len(USERS)
    assert table[0]["attack"] == "none"
    assert table[0]["low"] <= table[0]["named"] / table[0]["images"] <= table[0]["high"]
    assert (tmp_path / "capacity.svg").stat().st_size > 2000
