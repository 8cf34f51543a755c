"""The robustness study on a linear generator: measured once, in parts, joined, written down."""

import json

import numpy as np
import pytest
import small_study

from latentfp.report.robustness import write_robustness
from latentfp.runtime.processes import ALONE, Share
from latentfp.studies import robustness

PLAN = {
    **{"suite": "tiny", "images": 3, "descents": 2},
    **{"reference_images": 2, "reference_starts": 1, "reference_steps": 4},
}


def study(deployment, workdir, share=ALONE, seed=2, **changes):
    settings = robustness.Settings(**{**PLAN, "deployment": str(deployment), **changes})
    return small_study.run(robustness, settings, workdir, seed=seed, share=share)


@pytest.fixture(scope="module")
def measured(deployment, tmp_path_factory):
    """The folder of two processes, and the result, which the last of them writes."""
    workdir = tmp_path_factory.mktemp("robustness")
    assert study(deployment, workdir, Share(0, 2)) is None
    assert not (workdir / "tiny.json").exists()
    return workdir, study(deployment, workdir, Share(1, 2))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("fresh", [False, True])
def test_rows_of_fresh_noise_show_images_of_fresh_noise(fresh):
    """Files without an attack are the images that were made."""

    def made(asked, images):
        return np.full((images, 16, 16, 3), 200 if asked else 40, np.uint8)

    shown = robustness.attacked(made, "tiny", 0, "none", fresh, 2)
    np.testing.assert_array_equal(shown, made(fresh, 2))


def test_processes_share_the_attacks_and_the_last_joins_them(measured):
    workdir, result = measured
    attacks = [
        {line["setting"]["attack"] for line in lines(workdir / f"cells-{i}-of-2.jsonl")} for i in (0, 1)
    ]
    assert attacks == [{"none"}, {"blur"}]
    assert not (workdir / "cells.jsonl").exists()  # nothing was measured again
    assert [row["attack"] for row in result["rows"]] == ["none", "blur"]
    assert all({"decoder", "refine"} < row["methods"].keys() and row["reference"] for row in result["rows"])
    assert json.loads((workdir / "tiny.json").read_text()) == result


def test_a_study_goes_on_where_it_stopped(measured, deployment, tmp_path, monkeypatch):
    workdir, result = measured
    kept = (workdir / "cells-0-of-2.jsonl").read_text() + (workdir / "cells-1-of-2.jsonl").read_text()
    *before, last = kept.splitlines(keepends=True)
    (tmp_path / "cells.jsonl").write_text("".join(before) + last[:40])  # killed while it wrote
    called = []

    def estimated(_, cell, __):
        called.append((cell.attack, cell.method))
        numbers = json.loads(last)["numbers"]
        return {name: numbers[name] for name in numbers.keys() - {"seconds"}}

    monkeypatch.setattr(robustness, "estimated", estimated)
    again = study(deployment, tmp_path)
    assert {**again, "seconds": result["seconds"]} == result
    assert called == [("blur", "reference")]
    assert study(deployment, tmp_path) == again
    assert len(called) == 1


def test_what_numbers_belong_to_is_part_of_a_cell(measured, deployment, monkeypatch):
    workdir, _ = measured
    monkeypatch.setattr(robustness, "estimated", None)
    with pytest.raises(TypeError):
        study(deployment, workdir, seed=3)
    with pytest.raises(TypeError):
        study(deployment, workdir, images=4)


def test_numbers_fit_together(measured):
    workdir, result = measured
    raw = {
        (line["setting"]["attack"], line["setting"]["method"]): line["numbers"]
        for i in (0, 1)
        for line in lines(workdir / f"cells-{i}-of-2.jsonl")
    }
    for row in result["rows"]:
        for method, images in (("decoder", 3), ("refine", 2)):
            wrong, found = raw[row["attack"], method]["wrong"], row["methods"][method]
            assert len(wrong) == found["images"] == images
            assert found["bit_accuracy"] == pytest.approx(1 - np.mean(wrong) / 32)
            assert found["all_bits"] == wrong.count(0)
            assert found["same_images"]["bit_accuracy"] == pytest.approx(1 - np.mean(wrong[:2]) / 32)
            bins = found["calibration"]
            assert (sum(bins["bits"]), sum(bins["right"])) == (images * 32, images * 32 - sum(wrong))
        assert row["reference"]["images"] == 2
    assert sum(result["pooled"]["refine"]["bits"]) == 2 * 2 * 32


def test_a_descent_reads_what_the_linear_generator_shows(measured):
    clean, _ = measured[1]["rows"]
    assert clean["methods"]["refine"]["bit_accuracy"] == 1.0
    assert clean["methods"]["decoder"]["bit_accuracy"] < 1.0  # nobody trained it


def test_the_report_shows_the_numbers(measured, tmp_path):
    result = measured[1]
    text = write_robustness(tmp_path, result).read_text(encoding="utf-8")
    for row in result["rows"]:
        (line,) = (
            line for line in text.splitlines() if line.startswith(f"| {row['attack']} |") and "…" in line
        )
        assert f"{row['methods']['decoder']['bit_accuracy']:.2%}" in line
        assert f"{row['methods']['refine']['all_bits'] / 2:.1%}" in line
        assert f"{row['methods']['refine']['calibration']['expected_calibration_error']:.4f}" in text
        assert line.endswith("decoder 3, descent 2 |")
    assert "1 start of 4 steps" in text
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.md", "tiny.svg", "tiny_reliability.svg"}


def test_a_count_for_all_is_told_once(measured, tmp_path):
    result = json.loads(json.dumps(measured[1]))
    for row in result["rows"]:
        row["methods"]["refine"]["images"] = 3
    text = write_robustness(tmp_path, result).read_text(encoding="utf-8")
    assert sum(line.endswith(" | 3 |") for line in text.splitlines()) == len(result["rows"])


@pytest.mark.parametrize("counts", [{"descents": 4}, {"descents": 1}, {"reference_images": -1}])
def test_counts_lie_within_each_other(deployment, tmp_path, counts):
    with pytest.raises(ValueError, match="expected images of a descent among all"):
        study(deployment, tmp_path, **counts)


def test_something_must_read_codes(deployment, tmp_path, monkeypatch):
    monkeypatch.setattr(robustness, "readers", lambda _: [])
    with pytest.raises(ValueError, match="has no decoder: train one"):
        study(deployment, tmp_path)


def test_the_encoder_of_a_generator_is_measured_too(measured):
    methods = measured[1]["rows"][0]["methods"]
    assert list(methods) == ["encoder", "decoder", "refine"]
    assert methods["encoder"]["bit_accuracy"] == 1.0  # the linear generator's is exact
