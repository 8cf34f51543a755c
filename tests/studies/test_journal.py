"""What a killed study keeps."""

from latentfp.runtime.processes import Share
from latentfp.studies.journal import Journal


def test_nothing_is_measured_twice(tmp_path):
    calls = []

    def measure():
        calls.append(1)
        return {"x": (1, 2)}

    first = Journal(tmp_path / "a.jsonl").kept({"b": 1, "a": (0,)}, measure)
    again = Journal(tmp_path / "a.jsonl").kept({"a": [0], "b": 1}, measure)
    assert first == again == {"x": [1, 2]}
    assert calls == [1]


def test_a_torn_line_was_never_written(tmp_path):
    path = tmp_path / "a.jsonl"
    Journal(path).add("one", {"x": 1})
    whole = path.read_text()
    path.write_text(whole + whole[: len(whole) // 2])
    journal = Journal(path)
    journal.add("two", {"x": 2})
    assert path.read_text().startswith(whole)
    read = Journal(path)
    assert [read.get(name) for name in ("one", "two", "three")] == [{"x": 1}, {"x": 2}, None]


def test_processes_write_a_file_each_and_read_all(tmp_path):
    """Also what a run of one process, or of another number of them, has left."""
    path = tmp_path / "cells.jsonl"
    Journal(path).add(1, {"x": 1})
    before = path.read_text()
    first, second = Journal(path, Share(0, 2)), Journal(path, Share(1, 2))
    first.add(2, {"x": 2})
    assert first.complete([1, 2, 3]) is None
    second.add(3, {"x": 3})
    expected = [{"x": 1}, {"x": 2}, {"x": 3}]
    assert [journal.complete([1, 2, 3]) for journal in (first, second, Journal(path))] == [expected] * 3
    assert path.read_text() == before
    names = ["cells-0-of-2.jsonl", "cells-1-of-2.jsonl", "cells.jsonl"]
    assert sorted(found.name for found in tmp_path.iterdir()) == names
