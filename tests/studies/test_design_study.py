"""The design study on a linear generator: predictions in order, measured once, written down."""

import json

import pytest
import small_study
from linear_space import write_generator

from latentfp.generators import pretrained
from latentfp.report.design import front, write_design
from latentfp.studies import accuracy, design

GRID = {"sigma": (0.05, 0.2, 0.8), "shift": (0, 16), "bits": (8,), "attack": ("none", "noise"), "images": 4}
COMPARED = {"sigma": 0.3, "shift": 8, "bits": 8, "margin": 0.02, "images": 4}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("design")
    generator = write_generator(folder / "generator", latent_dim=24, size=8)
    settings = design.Settings(str(generator), design.Grid(**GRID), design.Compared(**COMPARED), 2)
    return settings, folder / "study", small_study.run(design, settings, folder / "study", seed=1)


def test_cells_are_put_in_the_right_order(measured):
    """A linear generator is all first order: the study's own claim holds where it must."""
    rows, ranks = measured[2]["rows"], measured[2]["rank_correlation"]
    assert len(rows) == 12
    assert ranks["accuracy"] > 0.8
    assert ranks["psnr"] > 0.9
    for row in rows:
        # The mean of four images' PSNR, not that of their mean square; the latents' own coordinates vary.
        assert abs(row["predicted"]["psnr"] - row["measured"]["psnr"]) < 2


def test_the_chosen_design_passes_the_baseline(measured):
    baseline, chosen = measured[2]["compared"]
    assert min(chosen["accuracy"].values()) > min(baseline["accuracy"].values()) + 0.019
    assert set(chosen["measured"]) == {"none", "noise"}


def test_nothing_is_measured_twice(measured, monkeypatch):
    given, workdir, result = measured
    monkeypatch.setattr(accuracy, "estimated", None)
    assert small_study.run(design, given, workdir, seed=1) == result
    settings = [json.loads(line)["setting"] for line in (workdir / "cells.jsonl").read_text().splitlines()]
    assert {setting["generator"] for setting in settings} == {pretrained.load(given.generator).identity}
    assert json.loads((workdir / "tiny.json").read_text()) == result


def test_the_page(measured, tmp_path):
    text = write_design(tmp_path, measured[2]).read_text()
    assert (tmp_path / "design_front.svg").read_text().count("<svg") == 1
    assert "12 cells, 4 files each" in text
    assert text.split("## All cells")[1].count("\n| noise |") == 6
    assert 1 <= text.split("## Accuracy against quality")[1].split("##")[0].count("\n| noise |") <= 6
    assert "Axes of the chosen design: " in text
    assert (tmp_path / "design.svg").stat().st_size > 2000


def test_the_front_is_what_no_design_beats():
    """Equal in both, or better in one and worse in the other, is not beaten."""
    pairs = [(30, 0.9), (33, 0.7), (31, 0.7), (20, 0.99), (33, 0.6), (25, 0.9), (30, 0.9)]
    rows = [{"measured": {"psnr": psnr, "accuracy": share}} for psnr, share in pairs]
    kept = [(row["measured"]["psnr"], row["measured"]["accuracy"]) for row in front(rows)]
    assert kept == [(33, 0.7), (30, 0.9), (20, 0.99)]
    for psnr, share in pairs:  # every design is on the front or beaten by one that is
        assert any(p >= psnr and a >= share for p, a in kept)
