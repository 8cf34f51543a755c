"""What a killed study keeps."""

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


def test_others_are_read_and_left_alone(tmp_path):
    other = tmp_path / "other.jsonl"
    Journal(other).add(1, {"x": 1})
    before = other.read_text()
    journal = Journal(tmp_path / "own.jsonl", others=[other])
    journal.add(2, {"x": 2})
    assert journal.get(1) == {"x": 1}
    assert other.read_text() == before
