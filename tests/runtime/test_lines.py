"""Files of JSON lines: what is there stays, what is damaged costs nothing else."""

import pytest

from latentfp.runtime import lines


def test_lines_are_added_and_read_in_order(tmp_path):
    path = tmp_path / "deep" / "lines.jsonl"
    assert lines.read(path) == []
    for n in range(3):
        lines.append(path, {"n": n})
    assert lines.read(path) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize("torn", ['{"n": 1, "a', '{"n": 1, "a\n', "[1]\n", "\x00\n", "nul"])
def test_a_damaged_line_costs_no_other(tmp_path, torn):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"n": 0}\n' + torn)
    lines.append(path, {"n": 2})
    assert lines.read(path) == [{"n": 0}, {"n": 2}]
    assert path.read_text().startswith('{"n": 0}\n' + torn), "nothing is deleted"


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"\xff\xfe")
    lines.append(path, {"n": 2})
    assert lines.read(path) == [{"n": 2}]


def test_only_the_end_of_the_last_line_was_lost(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"n": 0}')
    lines.append(path, {"n": 1})
    assert lines.read(path) == [{"n": 0}, {"n": 1}]
