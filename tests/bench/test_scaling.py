"""Scaling: real processes attribute the same parts; the page says what the numbers say."""

import sys

import pytest

from latentfp.bench import scaling
from latentfp.bench.scaling import Load
from latentfp.data.files import find_images
from latentfp.deployment.registry import Registry
from latentfp.report.benches import write_scaling
from latentfp.studies.context import open_context

LOAD = {"processes": (2,), "batch": 4, "steps": 4, "every": 2, "files": 6, "part": 2}
TRAINING = """
from configs import decoder_stylegan2_avatars

def get_config():
    config = decoder_stylegan2_avatars.get_config()
    config.objective.network.update({"channels": 4, "squeeze": 4, "width": 16, "blocks": 1})
    config.objective.learning.iterations = 1
    return config
"""


@pytest.fixture(scope="module")
def run(deployment, tmp_path_factory):
    """The whole bench: real processes train and attribute."""
    folder = tmp_path_factory.mktemp("scaling")
    (folder / "training.py").write_text(TRAINING)
    given = {"deployment": str(deployment), "training": str(folder / "training.py"), "seed": 1}
    return lambda **changed: scaling.run(**given, load=Load(**LOAD | changed), workdir=folder / "work")


@pytest.mark.slow
def test_the_whole_bench(run):
    found = run()
    trained, attributed = found["training"][0], found["attribution"][0]
    assert trained["processes"] == attributed["processes"] == 2
    assert trained["per_second"] > 0
    assert 0 <= trained["metrics"]["bits"] <= 1
    assert attributed["per_second"] == pytest.approx(6 / attributed["command_seconds"])
    assert run() == found, "nothing is measured again"


@pytest.mark.slow
def test_two_processes_write_the_parts_of_one(deployment, tmp_path):
    images = scaling._images(open_context(deployment, seed=1), tmp_path / "images", 6)
    assert len(find_images([images])) == 6
    out, load = tmp_path / "one", Load(**LOAD)
    one = scaling.attribute(str(deployment), images, out, 1, load)
    two = scaling.attribute(str(deployment), images, tmp_path / "two", 2, load)
    assert one["sha256"] == two["sha256"]
    assert len(list(out.glob("part-*.parquet"))) == 3
    (out / "bulk.json").write_text("of an interrupted measurement")
    assert scaling.attribute(str(deployment), images, out, 1, load)["sha256"] == one["sha256"]


def test_a_deployment_without_users_is_refused_at_once(deployment, tmp_path, monkeypatch):
    monkeypatch.setattr(Registry, "count", lambda _: 0)
    with pytest.raises(ValueError, match="has no users"):
        scaling.run(
            deployment=str(deployment), training="none.py", load=Load(**LOAD), seed=1, workdir=tmp_path
        )


def test_a_command_that_fails_says_why():
    with pytest.raises(ValueError, match=r"2 processes of .* failed: .*no such thing"):
        scaling.local(2, [sys.executable, "-c", "raise SystemExit('no such thing')"])


def row(processes, speed, **more):
    return {"processes": processes, "per_second": speed, "command_seconds": 600 / speed, **more}


def test_the_page_tells_efficiency_and_differences(tmp_path):
    training = [
        row(1, 10.0, metrics={"bits": 0.5, "loss": 2.0}),
        row(2, 16.0, metrics={"bits": 0.5, "loss": 2.0002}),
        row(4, 18.0, metrics={"bits": 0.5, "loss": 1.9999}),
    ]
    parts = [row(1, 5.0, sha256="a"), row(2, 10.0, sha256="a"), row(4, 9.0, sha256="a")]
    facts = {"cores": 2, "hardware": "2 cores", "code": ["0.2.0+1"], "training_config": "c.py"}
    facts |= {"batch": 64, "steps": 30, "files": 400}
    text = write_scaling(tmp_path, facts | {"training": training, "attribution": parts}).read_text()
    assert "| 2 | 16 | 1.60 | 80% | 38 |" in text
    assert "| 4 | 18 | 1.80 | 90% | 33 |" in text
    assert "at most 1.0e-04" in text
    assert "the same, byte for byte" in text
    parts[1]["sha256"] = "b"
    again = write_scaling(tmp_path, facts | {"training": training, "attribution": parts}).read_text()
    assert "NOT the same" in again
