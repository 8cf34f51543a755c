"""The bench of attribution on linear generators, with and without a decoder."""

import json

import pytest
import small_study

from latentfp.generators import linear, pretrained
from latentfp.report.attribution import write_attribution
from latentfp.studies import attribution

PLAN = {
    "images": 4,
    "multistart_images": 2,
    "reference_images": 2,
    "warm_images": 1,
    "users": 6,
    "alpha": 1e-6,
    "reference_starts": 1,
    "reference_steps": 4,
}


def bench(deployment, workdir, **changes):
    settings = attribution.Settings(**{**PLAN, "deployment": str(deployment), **changes})
    return small_study.run(attribution, settings, workdir, seed=5, name="attribution")


@pytest.fixture(scope="module")
def measured(deployment, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("bench")
    return workdir, bench(deployment, workdir)


def test_every_method_is_measured(measured):
    workdir, result = measured
    assert json.loads((workdir / "attribution.json").read_text()) == result
    rows = {row["method"]: row for row in result["methods"]}
    assert list(rows) == ["encoder", "decoder", "refine", "exact", "auto", "multistart", "reference"]
    assert [row["images"] for row in rows.values()] == [4, 4, 4, 4, 4, 2, 2]
    assert all(sum(row["users"].values()) == row["images"] for row in rows.values())
    assert all(sum(row["stages"].values()) == row["images"] for row in rows.values())
    assert all(row["same_images"]["images"] == 2 for row in rows.values())
    assert all(row["peak_memory_mib"] > 10 for row in rows.values())


def test_a_linear_generator_hides_nothing(measured):
    rows = {row["method"]: row for row in measured[1]["methods"]}
    for method in ("encoder", "refine", "auto"):
        assert (rows[method]["all_bits"], rows[method]["users"]["right"]) == (4, 4)
    assert rows["auto"]["stages"] == {"refine": 4}  # what the encoder reads names nobody


def test_ratios_are_to_the_search(measured):
    rows = {row["method"]: row for row in measured[1]["methods"]}
    reference = rows["reference"]
    assert reference["passes"] == 2 * 1 * 4
    assert (reference["fewer_passes"], reference["faster"]) == (1, 1)
    for row in rows.values():
        assert row["fewer_passes"] * row["passes"] == pytest.approx(8)
        assert row["faster"] * row["seconds_per_image"] == pytest.approx(reference["seconds_per_image"])


def test_a_bench_goes_on_where_it_stopped(measured, deployment, tmp_path, monkeypatch):
    workdir, result = measured
    kept = (workdir / "cells.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "cells.jsonl").write_text("".join(kept[:-1]))  # without the last image of the search
    searched = []
    answers = attribution.answers

    def counted(context, method, images, **options):
        searched.append(method.value)
        return answers(context, method, images, **options)

    monkeypatch.setattr(attribution, "answers", counted)
    again = bench(deployment, tmp_path)
    assert searched == ["reference", "reference"]  # to warm up, and the image
    assert again["methods"][0] == result["methods"][0] | {"faster": again["methods"][0]["faster"]}


def test_the_table_shows_the_numbers(measured, tmp_path):
    result = measured[1]
    text = write_attribution(tmp_path, result).read_text(encoding="utf-8")
    (auto,) = (row for row in result["methods"] if row["method"] == "auto")
    (line,) = (line for line in text.splitlines() if line.startswith("| **auto**") and "×" in line)
    assert f"| {auto['passes']:.4g} | {auto['iterations']:.3g} | {auto['seconds_per_image']:.3g} |" in line
    assert "Auto ended at refine for 100.0% of the images." in text
    assert "On the 2 images of the search" in text


def test_without_a_decoder_and_an_encoder(bare_deployment, tmp_path, monkeypatch):
    bare = linear.make

    def without(**fields):
        return bare(**fields)._replace(encode=None)

    monkeypatch.setitem(pretrained.KINDS, "linear", pretrained.KINDS["linear"]._replace(make=without))
    result = bench(bare_deployment, tmp_path)
    assert [row["method"] for row in result["methods"]] == ["auto", "multistart", "reference"]
    assert result["methods"][0]["stages"] == {"multistart": 4}


@pytest.mark.parametrize("changes", [{"users": 3}, {"reference_images": 0}, {"multistart_images": 5}])
def test_plans_that_cannot_be(tmp_path, changes):
    with pytest.raises(ValueError, match="as many users as images"):
        bench(tmp_path, tmp_path, **changes)
