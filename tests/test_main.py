import json
import re
import sys

import mean_image
import numpy as np
import pytest
from absl import flags

from latentfp import build, main
from latentfp.data import pipeline

BASE = """
from configs import base

def get_config(rate="0.05"):
    config = base.train_config()
    config.data.size = 4
    config.train.update({"steps": 6, "batch": 16, "log_every": 2, "preview_every": 6, "checkpoint_every": 3})
    config.objective = {"name": "mean_image", "learning_rate": float(rate)}
    return config
"""


def noise(rows):
    """Some of eight fixed random images."""
    return np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), np.uint8)[rows]


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """The whole program, with a toy objective, on noise, on however many devices there are."""

    def open_source(dataset, *, split, size, data_dir, memory=0):
        del split, data_dir, memory
        assert (dataset, size) == ("avatars", 4)
        return pipeline.Source(8, noise, size=size)

    monkeypatch.setitem(sys.modules, "clu", None)
    monkeypatch.setitem(build.OBJECTIVES, "mean_image", lambda: mean_image.objective)
    monkeypatch.setattr(pipeline, "open_source", open_source)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command line: run("--config.train.steps=8", argument="0.1")."""
    (tmp_path / "toy.py").write_text(BASE)

    def run(*changes, argument="0.05"):
        forget_flags()
        command = ["main", f"--config={tmp_path}/toy.py:{argument}", f"--workdir={tmp_path}/run", *changes]
        monkeypatch.setattr(sys, "argv", command)  # where config_flags looks for changed fields
        main.main(flags.FLAGS(command))

    yield run
    forget_flags()


def forget_flags():
    """Make absl's flags as if nothing had been parsed; config_flags adds one for each changed field."""
    flags.FLAGS.unparse_flags()
    for name in [name for name in flags.FLAGS if name.startswith("config.")]:
        delattr(flags.FLAGS, name)


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_configuration_is_run_recorded_and_resumed(run, tmp_path):
    run()
    folder = tmp_path / "run"
    assert [row["step"] for row in rows_of(folder) if "loss" in row] == [2, 4, 6]
    assert (folder / "previews/00000006.png").exists()
    recorded = json.loads((folder / "config.json").read_text())
    assert recorded["objective"] == {"name": "mean_image", "learning_rate": 0.05}
    assert recorded["run"] == "train"
    run("--config.train.steps=8")
    assert [row["step"] for row in rows_of(folder) if "loss" in row] == [2, 4, 6, 8]
    assert json.loads((folder / "config.json").read_text())["train"]["steps"] == 8


def test_another_configuration_is_not_resumed(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_text(
        json.dumps(config(objective__learning_rate=0.05, data__data_dir="/x"))
    )
    told = r"configuration: objective\.learning_rate: 0\.05 -> 0\.1\. Set these fields back"
    with pytest.raises(SystemExit, match=told):
        run(argument="0.1")


def config(**changes):
    """A configuration as build.prepare gets it; `section__field=value` changes a field, None deletes it."""
    fields = {
        "run": "train",
        "seed": 0,
        "data": {"dataset": "avatars", "split": "train", "size": 4, "data_dir": None},
        "train": {
            "steps": 6,
            "batch": 16,
            "log_every": 2,
            "preview_every": 6,
            "checkpoint_every": 3,
            "keep": 1,
        },
        "objective": {"name": "mean_image"},
    }
    for path, value in changes.items():
        section, _, name = path.rpartition("__")
        target = fields[section] if section else fields
        if value is None:
            del target[name]
        else:
            target[name] = value
    return fields


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sead": 1}, "config does not fit: unknown fields ['sead'], missing fields []"),
        ({"config": 1}, "config does not fit: unknown fields ['config']"),
        ({"seed": None}, "config does not fit: unknown fields [], missing fields ['seed']"),
        ({"run": "trian"}, "config.run is 'trian': choose one of ['accuracy', 'adversary', 'attribution', "),
        ({"run": None}, "config.run is None: choose one of ['accuracy', 'adversary', 'attribution', "),
        ({"data__splits": "x"}, "config.data does not fit: unknown fields ['splits']"),
        ({"data__split": None}, "config.data does not fit: unknown fields [], missing fields ['split']"),
        ({"train__stpes": 1}, "config.train does not fit: unknown fields ['stpes']"),
        ({"train__mesh": 1}, "config.train does not fit: unknown fields ['mesh']"),
        ({"train__keep": None}, "config.train does not fit: unknown fields [], missing fields ['keep']"),
        ({"train__batch": None}, "config.train.batch is None: give the number of images of a step"),
        ({"train__batch": 0}, "config.train.batch is 0"),
        (
            {"objective__rate": 1.0},
            "config.objective does not fit: unknown fields ['rate'], missing fields []; its",
        ),
        (
            {"objective__name": "gan"},
            "config.objective.name is 'gan': choose one of ['decoder', 'diffusion', 'first_stage', ",
        ),
        ({"objective__name": None}, "config.objective.name is None"),
        ({"train__batch": 12}, "12 rows cannot be split over 8 devices"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_before_anything_is_written(tmp_path, changes, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        build.prepare(config(**changes), workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_known_fields_are_listed(tmp_path):
    with pytest.raises(ValueError, match=r"its fields are \['learning_rate', 'nan_at', 'traces'\]"):
        build.prepare(config(objective__rate=1.0), workdir=tmp_path)


def test_the_command_line_shows_one_line(run):
    with pytest.raises(SystemExit, match=r"^error: config\.objective.name is 'x': choose one of"):
        run("--config.objective.name=x")


def test_the_command_line_refuses_what_it_does_not_know(run):
    with pytest.raises(SystemExit, match=r"^error: not understood: more$"):
        run("more")
