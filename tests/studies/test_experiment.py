"""What an experiment keeps, what it was made with, and its random streams."""

import json
from typing import NamedTuple

import pytest

from latentfp.runtime.processes import ALONE, Share
from latentfp.runtime.provenance import code_version, hardware
from latentfp.studies import experiment
from latentfp.studies.experiment import Experiment, Stream, Unfinished, plain, run, seed_of


class Cell(NamedTuple):
    x: int
    pair: tuple[int, ...] = ()


def square(calls):
    """Measures a cell, and notes that it was asked to."""

    def measure(cell):
        calls.append(cell.x)
        return {"square": cell.x**2, "pair": cell.pair}

    return measure


def squares(workdir, cells, calls, share=ALONE, **options):
    found = Experiment(workdir, seed=0, share=share).measured(
        [Cell(x) for x in cells], square(calls), belongs={"of": "whole numbers"}, **options
    )
    return [numbers["square"] for numbers in found]


def test_nothing_is_measured_twice(tmp_path):
    """Also a cell that is listed twice; tuples are lists in JSON."""
    calls = []
    assert squares(tmp_path, [1, 2, 1], calls) == [1, 4, 1]
    assert squares(tmp_path, [2, 3], calls) == [4, 9]
    assert calls == [1, 2, 3]
    first, again = (
        Experiment(tmp_path, seed=0).measured([Cell(5, (1, 2))], square(calls), belongs={}) for _ in range(2)
    )
    assert first == again
    assert first[0]["pair"] == [1, 2]
    assert first[0]["seconds"] >= 0
    assert calls == [1, 2, 3, 5]


def test_what_numbers_belong_to_is_part_of_a_cell(tmp_path):
    calls = []
    for seed in (0, 1, 0):
        Experiment(tmp_path, seed=0).measured([Cell(1)], square(calls), belongs={"seed": seed})
    assert calls == [1, 1]


def test_a_cell_may_be_a_dictionary(tmp_path):
    """It is the same cell as a named tuple with these fields."""
    calls = []
    squares(tmp_path, [3], calls)
    found = Experiment(tmp_path, seed=0).measured(
        [{"x": 3, "pair": ()}], lambda _: {}, belongs={"of": "whole numbers"}
    )
    assert found[0]["square"] == 9


def test_the_seconds_of_a_row_are_not_overwritten(tmp_path):
    """They are those that the row took, so a study that has some of its own must name them otherwise."""
    with pytest.raises(ValueError, match="a field `seconds`"):
        Experiment(tmp_path, seed=0).measured([Cell(1)], lambda _: {"seconds": 3.0}, belongs={})
    assert not list(tmp_path.iterdir())


def test_a_torn_line_was_never_written(tmp_path):
    calls, path = [], tmp_path / "cells.jsonl"
    squares(tmp_path, [1, 2], calls)
    whole = path.read_text()
    path.write_text(whole[:-20])  # killed while it wrote
    assert squares(tmp_path, [1, 2], calls) == [1, 4]
    assert calls == [1, 2, 2]


def test_processes_write_a_file_each_and_read_all(tmp_path):
    """Also what a run of one process, or of another number of them, has left."""
    first, second, third = [], [], []
    squares(tmp_path, [1], first)
    with pytest.raises(Unfinished):
        squares(tmp_path, [1, 2, 3, 4], second, Share(0, 2))
    assert squares(tmp_path, [1, 2, 3, 4], third, Share(1, 2)) == [1, 4, 9, 16]
    assert (first, second, third) == ([1], [3], [2, 4])
    names = ["cells-0-of-2.jsonl", "cells-1-of-2.jsonl", "cells.jsonl"]
    assert sorted(found.name for found in tmp_path.iterdir()) == names


def test_cells_that_belong_together_are_measured_by_one_process(tmp_path):
    calls = []
    with pytest.raises(Unfinished):
        squares(tmp_path, range(8), calls, Share(1, 2), together=lambda cell: cell.x // 4)
    assert calls == [4, 5, 6, 7]


def test_the_streams_have_no_seed_in_common():
    seeds = (0, 1, experiment.SEEDS - 1)
    tune, report = ({seed_of(seed, stream) for seed in seeds} for stream in Stream)
    assert max(tune) + 1 < min(report)
    assert len(tune) == len(report) == 3
    for seed in (-1, experiment.SEEDS):
        with pytest.raises(ValueError, match=f"config.seed is {seed}: expected 0 "):
            seed_of(seed, Stream.REPORT)


class Settings(NamedTuple):
    cells: tuple[int, ...] = (1, 2)


class Found(NamedTuple):
    squares: list[int]


def measure(given, settings):
    found = given.measured([Cell(x) for x in settings.cells], square([]), belongs={"seed": given.seed})
    return Found([row["square"] for row in found])


MADE = {"name": "squares", "title": "Squares", "seed": 3, "stream": Stream.REPORT}


def test_a_record_says_what_it_was_made_with(tmp_path):
    """The machine is asked, and the stream decides the seed."""
    record = run(measure, Settings(), workdir=tmp_path, **MADE) or {}
    assert json.loads((tmp_path / "squares.json").read_text()) == record
    assert record["squares"] == [1, 4]
    assert record["cells"] == [1, 2]
    assert (record["stream"], record["seed"], record["title"]) == ("report", 3, "Squares")
    assert (record["hardware"], record["code"]) == (hardware(), [code_version()])
    lines = [json.loads(line) for line in (tmp_path / "cells.jsonl").read_text().splitlines()]
    assert {line["setting"]["seed"] for line in lines} == {2**30 + 3}
    assert record["seconds"] == sum(line["numbers"]["seconds"] for line in lines)


def test_rows_of_another_version_of_the_code_are_marked(tmp_path, monkeypatch, capsys):
    """Resumed after a change: the record and stderr name both versions."""
    monkeypatch.setattr(experiment, "code_version", lambda: "0.1.0+aaaaaaaa")
    run(measure, Settings((1,)), workdir=tmp_path, **MADE)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(experiment, "code_version", lambda: "0.1.0+bbbbbbbb")
    record = run(measure, Settings((1, 2)), workdir=tmp_path, **MADE) or {}
    assert record["code"] == ["0.1.0+aaaaaaaa", "0.1.0+bbbbbbbb"]
    assert (
        "rows of the code 0.1.0+aaaaaaaa, 0.1.0+bbbbbbbb stand beside one another" in capsys.readouterr().err
    )


def test_a_process_that_ends_first_writes_no_record(tmp_path, capsys):
    assert run(measure, Settings(), workdir=tmp_path, share=Share(0, 2), **MADE) is None
    assert "the process that ends last writes the result" in capsys.readouterr().err
    assert not (tmp_path / "squares.json").exists()


def test_named_tuples_are_objects():
    assert plain({"a": [Cell(1, (2,))], "b": None}) == {"a": [{"x": 1, "pair": [2]}], "b": None}
