import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mean_image
import numpy as np
import pytest
from typer.testing import CliRunner

from latentfp import build, main
from latentfp.cli import app
from latentfp.data import pipeline
from latentfp.runtime.fields import recorded

BASE = """
import mean_image
from configs import base

def get_config(rate="0.05"):
    config = base.train_config()
    config.data.size = 4
    config.train.update({"steps": 6, "batch": 16, "log_every": 2, "preview_every": 6, "checkpoint_every": 3})
    config.objective = {"make": mean_image.objective, "learning_rate": float(rate)}
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
    monkeypatch.setattr(pipeline, "open_source", open_source)


@pytest.fixture
def run(tmp_path):
    """Runs the command line: run("--config.train.steps=8", argument="0.1")."""
    (tmp_path / "toy.py").write_text(BASE)

    def run(*changes, argument="0.05"):
        main.main([f"--config={tmp_path}/toy.py:{argument}", f"--workdir={tmp_path}/run", *changes])

    return run


def refused(call, capsys):
    """What a wrong command says on stderr."""
    with pytest.raises(SystemExit) as ended:
        call()
    assert ended.value.code == 2
    return capsys.readouterr().err


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_configuration_is_run_recorded_and_resumed(run, tmp_path):
    run()
    folder = tmp_path / "run"
    assert [row["step"] for row in rows_of(folder) if "loss" in row] == [2, 4, 6]
    assert (folder / "previews/00000006.png").exists()
    recorded = json.loads((folder / "config.json").read_text())
    assert recorded["objective"] == {"make": "mean_image:objective", "learning_rate": 0.05}
    assert recorded["run"] == "latentfp.build:train"
    run("--config.train.steps=8")
    assert [row["step"] for row in rows_of(folder) if "loss" in row] == [2, 4, 6, 8]
    assert json.loads((folder / "config.json").read_text())["train"]["steps"] == 8


def test_another_configuration_is_not_resumed(run, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_text(
        json.dumps(recorded(config(objective__learning_rate=0.05, data__data_dir="/x")))
    )
    told = refused(lambda: run(argument="0.1"), capsys)
    assert "configuration: objective.learning_rate: 0.05 -> 0.1. Set these fields back" in told


@pytest.mark.slow
def test_code_that_moved_is_no_other_configuration(run, tmp_path):
    (tmp_path / "run").mkdir()
    earlier = recorded(config(objective__learning_rate=0.05, run="elsewhere:train"))
    earlier["objective"]["make"] = "elsewhere:objective"
    (tmp_path / "run/config.json").write_text(json.dumps(earlier))
    run("--config.train.steps=2")
    assert json.loads((tmp_path / "run/config.json").read_text())["run"] == "latentfp.build:train"


def config(**changes):
    """A configuration as build.prepare gets it; `section__field=value` changes a field, None deletes it."""
    fields = {
        "run": build.train,
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
        "objective": {"make": mean_image.objective},
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
        ({"run": "train"}, "config.run is 'train': expected a function such as latentfp.build.train"),
        ({"run": None}, "config.run is None: expected a function"),
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
        ({"objective__make": "gan"}, "config.objective.make is 'gan': expected a function or a class"),
        (
            {"objective__make": None},
            "config.objective.make is missing: the function that makes the objective",
        ),
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


def test_the_command_line_shows_one_line(run, capsys):
    assert refused(lambda: run("--config.train.batch=0"), capsys).startswith("error: config.train.batch is 0")


@pytest.mark.parametrize("word", ["more", "--more=1"])
def test_the_command_line_refuses_what_it_does_not_know(run, capsys, word):
    assert word.strip("-=1") in refused(lambda: run(word), capsys)


def test_a_misspelt_field_of_the_command_line_is_refused(run, capsys):
    assert "stpes" in refused(lambda: run("--config.train.stpes=1"), capsys)


def test_a_shipped_configuration_is_found_by_its_name():
    assert build.find("robustness:avatars-ldm", kind="studies").endswith(
        "configs/studies/robustness.py:avatars-ldm"
    )
    told = (
        "no configuration robust: give the path of a file, or one of accuracy_ldm, accuracy_stylegan2, adver"
    )
    with pytest.raises(ValueError, match=told):
        build.find("robust", kind="studies")
    assert build.load(build.find("stylegan2_avatars:64", kind=""), ["--config.seed=3"])["seed"] == 3


def test_configurations_import_one_another_outside_of_the_checkout(tmp_path):
    """As from an installed package, in whose users' folders there is no `configs`."""
    program = (
        "from latentfp import build; print(build.load(build.find('decoder_ldm_avatars', kind=''))['seed'])"
    )
    environment = {**os.environ, "PYTHONPATH": ""}
    set_path = f"import sys; sys.path.append({str(tmp_path / 'site')!r})\n"
    root = Path(build.__file__).parents[1]
    (tmp_path / "site").mkdir()
    shutil.copytree(root / "latentfp", tmp_path / "site/latentfp", ignore=shutil.ignore_patterns("weights"))
    shutil.copytree(root / "configs", tmp_path / "site/latentfp/configs")
    ended = subprocess.run(
        [sys.executable, "-c", set_path + program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.stdout == "0\n", ended.stderr


def test_the_three_doors(tmp_path):
    (tmp_path / "toy.py").write_text(BASE)
    for door in ("train", "study", "bench"):
        called = CliRunner().invoke(app, [door, f"{tmp_path}/toy.py", "--config.train.batch=0"])
        assert str(called.exception).startswith("config.train.batch is 0"), called.output
    called = CliRunner().invoke(app, ["bench", "nothing"])
    assert str(called.exception) == (
        "no configuration nothing: give the path of a file, or one of "
        "large_latents, published_sizes, scaling, search, throughput"
    )
