"""Scaling: real processes attribute the same parts; the page says what the numbers say."""

import sys

import pytest

from latentfp.data.files import find_images
from latentfp.report.scaling import write_scaling
from latentfp.studies import scaling
from latentfp.studies.scaling import Plan

PLAN = Plan(processes=(1, 2), steps=4, every=2, files=6, part=2)


@pytest.mark.slow
def test_two_processes_write_the_parts_of_one(deployment, tmp_path):
    images = scaling._images(str(deployment), tmp_path / "images", 6, seed=1)
    assert len(find_images([images])) == 6
    one, two = (scaling.attribute(str(deployment), images, tmp_path / str(n), n, PLAN) for n in (1, 2))
    assert one["sha256"] == two["sha256"]
    assert len(list((tmp_path / "2").glob("part-*.parquet"))) == 3
    assert one["per_second"] == pytest.approx(6 / one["seconds"])


def test_a_command_that_fails_says_why():
    with pytest.raises(ValueError, match=r"2 processes of .* failed: .*no such thing"):
        scaling.local(2, [sys.executable, "-c", "raise SystemExit('no such thing')"])


def row(processes, speed, **more):
    return {"processes": processes, "per_second": speed, "seconds": 600 / speed, **more}


def test_the_page_tells_efficiency_and_differences(tmp_path):
    training = [
        row(1, 10.0, metrics={"bits": 0.5, "loss": 2.0}),
        row(2, 16.0, metrics={"bits": 0.5, "loss": 2.0002}),
        row(4, 18.0, metrics={"bits": 0.5, "loss": 1.9999}),
    ]
    parts = [row(1, 5.0, sha256="a"), row(2, 10.0, sha256="a"), row(4, 9.0, sha256="a")]
    facts = {"cores": 2, "training_config": "c.py", "steps": 30, "files": 400}
    text = write_scaling(tmp_path, facts | {"training": training, "attribution": parts}).read_text()
    assert "| 2 | 16 | 1.60 | 80% | 38 |" in text
    assert "| 4 | 18 | 1.80 | 90% | 33 |" in text
    assert "at most 1.0e-04" in text
    assert "the same, byte for byte" in text
    parts[1]["sha256"] = "b"
    again = write_scaling(tmp_path, facts | {"training": training, "attribution": parts}).read_text()
    assert "NOT the same" in again
