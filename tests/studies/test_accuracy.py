"""The accuracy study on a linear generator: measured once, written down, resumed."""

import json

import numpy as np
import pytest
import small_study
from linear_space import write_generator

from latentfp.fingerprint.codes import draw_codes
from latentfp.report.accuracy import write_accuracy
from latentfp.runtime.processes import ALONE, Share
from latentfp.studies import accuracy

CELL = {
    "images": 3,
    "sigma": 1.0,
    "shift": 10,
    "attack": "none",
    "method": "refine",
    "starts": 1,
    "steps": 20,
}


def entry(value="1.0", group="sigma", **changes):
    return accuracy.Entry(group, value, accuracy.Cell(**{**CELL, **changes}))


def measured_in(line):
    """The numbers of a line of cells.jsonl as a study measured them."""
    return {name: value for name, value in json.loads(line)["numbers"].items() if name != "seconds"}


CELLS = [entry(), entry("0.5", sigma=0.5, method="reference", steps=10)]


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return write_generator(tmp_path_factory.mktemp("accuracy") / "generator", latent_dim=24, size=8)


def shared(generator, workdir, cells, *, share=ALONE, seed=2, coding="antipodal"):
    settings = accuracy.Settings(str(generator), samples=1000, bits=8, coding=coding, entries=cells)
    return small_study.run(accuracy, settings, workdir, seed=seed, share=share)


def study(*given, **settings):
    result = shared(*given, **settings)
    assert result is not None  # of one process
    return result


@pytest.fixture(scope="module")
def measured(generator, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("study")
    return workdir, study(generator, workdir, CELLS)


def test_numbers_are_those_of_the_cells(measured):
    _, result = measured
    first, second = result["cells"]
    assert (first["all_bits"], first["bit_accuracy"]) == (3, 1.0)  # a linear generator hides nothing
    assert (first["value"], second["value"]) == ("1.0", "0.5")
    assert 0 <= second["bit_accuracy"] <= 1
    assert second["psnr"] > first["psnr"]  # a weaker mark
    low, high = first["interval"]
    # exact interval of 3 right of 3: from 0.025^(1/3) to 1
    np.testing.assert_allclose([low, high], [0.025 ** (1 / 3), 1], rtol=1e-6)


def test_a_finished_study_measures_nothing(measured, generator, monkeypatch):
    workdir, result = measured
    monkeypatch.setattr(accuracy, "estimated", None)
    assert study(generator, workdir, CELLS) == result


def test_a_study_goes_on_where_it_stopped(measured, generator, tmp_path, monkeypatch):
    workdir, result = measured
    lines = (workdir / "cells.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "cells.jsonl").write_text(lines[0])
    called = []

    def measure(_, cell):
        called.append(cell.sigma)
        return measured_in(lines[1])

    monkeypatch.setattr(accuracy, "estimated", measure)
    assert study(generator, tmp_path, CELLS)["cells"] == result["cells"]
    assert called == [0.5]


def test_two_processes_measure_every_cell_once(measured, generator, tmp_path, monkeypatch):
    """Also one that is listed twice."""
    lines = (measured[0] / "cells.jsonl").read_text().splitlines()
    known, called = dict(zip((1.0, 0.5), map(measured_in, lines), strict=True)), []

    def measure(_, cell):
        called.append(cell.sigma)
        return known[cell.sigma]

    monkeypatch.setattr(accuracy, "estimated", measure)
    cells = [*CELLS, entry(group="again")]
    assert shared(generator, tmp_path, cells, share=Share(1, 2)) is None
    assert called == [0.5]
    result = study(generator, tmp_path, cells, share=Share(0, 2))
    assert called == [0.5, 1.0]
    assert result["cells"][:2] == measured[1]["cells"]


def test_numbers_of_another_seed_are_not_these(measured, generator, tmp_path, monkeypatch):
    (tmp_path / "cells.jsonl").write_text((measured[0] / "cells.jsonl").read_text())
    other = {**measured_in((tmp_path / "cells.jsonl").read_text().splitlines()[0]), "psnr": -1.0}
    monkeypatch.setattr(accuracy, "estimated", lambda *_: other)
    assert [row["psnr"] for row in study(generator, tmp_path, CELLS, seed=3)["cells"]] == [-1.0, -1.0]


def test_labels_do_not_make_another_measurement(measured, generator, monkeypatch):
    workdir, result = measured
    monkeypatch.setattr(accuracy, "estimated", None)
    renamed = study(generator, workdir, [entry("all", "paper")])
    assert renamed["cells"][0]["all_bits"] == result["cells"][0]["all_bits"]
    assert renamed["cells"][0]["value"] == "all"


def test_the_table_is_written(measured, tmp_path):
    cells = measured[1]["cells"]
    text = write_accuracy(tmp_path, measured[1]).read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(("| 0.5 ", "| 1.0 "))]
    assert "# Tiny study" in text
    assert [row[0] for row in rows] == ["| 0.5", "| 1.0"], "by strength"
    for row, cell in zip(rows, (cells[1], cells[0]), strict=True):
        assert row[4:6] == [f"{cell['bit_accuracy']:.2%}", f"{cell['psnr']:.1f}"]
        assert row[-2] == f"{cell['starts']} × {cell['steps']}"


@pytest.mark.parametrize(("field", "value"), [("attack", "acid"), ("method", "guess")])
def test_unknown_words_are_refused(generator, tmp_path, field, value):
    with pytest.raises(ValueError, match=f"{value}.*expected"):
        study(generator, tmp_path, [entry(**{field: value})])
    assert not (tmp_path / "cells.jsonl").exists()


@pytest.mark.parametrize(("coding", "balanced"), [("binary", True), ("antipodal", False)])
def test_codes_are_those_that_a_deployment_would_draw(generator, tmp_path, monkeypatch, coding, balanced):
    """Balanced where a one changes an image and a zero does not; fair ones where both change it alike."""
    drawn, mark = [], accuracy.mark_latents

    def watched(subject, w0, codes):
        drawn.append(codes)
        return mark(subject, w0, codes)

    monkeypatch.setattr(accuracy, "mark_latents", watched)
    study(generator, tmp_path, [entry(frechet_images=4)], coding=coding)
    assert [len(codes) for codes in drawn] == [3, 4]
    for codes, seed in zip(drawn, (2, 3), strict=True):
        expected = draw_codes(
            seed, len(codes), bits=8, min_distance=1 if seed == 3 else None, balanced=balanced
        )
        np.testing.assert_array_equal(codes, expected)
        assert (codes.sum(axis=1) == 4).all() == balanced
