"""report.json at the door: the example passes, and each contradiction put into it is refused by name."""

import json

import pytest

from latentfp.report.record import read_report

FAULTS = [
    ("users 0 name", "bob", "is of alice and names alice, expected registered users"),
    ("users 1 name", "alice", "expected every name once"),
    ("users 0 code", "101", "expected 16 digits 0 or 1"),
    ("users 0 code", "2" * 16, "expected 16 digits 0 or 1"),
    ("spectrum shift", 9, "spectrum has 24 axes, expected to find 16 from axis 9 on"),
    ("spectrum shift", -1, "expected to find 16 from axis -1 on"),
    ("spectrum bits", 0, "expected to find 0"),
    ("spectrum stds", [], "spectrum has 0 axes"),
    ("spectrum stds 3", -1.0, "a negative std"),
    ("spectrum stds", [0.0] * 24, "no positive one"),
    ("spectrum sigma", 0, "no positive sigma"),
    (
        "files 0 verdict",
        "maybe",
        "files[0].verdict is 'maybe', expected one of 'user', 'none', 'inconclusive', 'unreadable'",
    ),
    ("files 0 verdict", "none", "has the verdict 'none', but names alice"),
    ("files 1 verdict", "user", "has the verdict 'user', but names None"),
    ("files 0 named", "mallory", "names mallory, expected registered users"),
    ("files 0 correct", False, "is said to be correct=False, but is of alice and names alice"),
    ("files 1 correct", True, "is said to be correct=True"),
    ("files 0 matched_bits", None, "expected matched_bits, p_value and confidence"),
    ("files 0 matched_bits", 17, "has 17 of 16 bits"),
    ("files 0 p_value", 1.5, "with p 1.5"),
    ("files 0 p_value", float("nan"), "files[0].p_value is nan, expected a finite number"),
    ("files 0 confidence", [0.5], "has 1 confidences, expected 16 probabilities"),
    ("files 0 confidence 3", 1.1, "expected 16 probabilities"),
    ("accuracy 0 correct", 1, "accuracy of 'none' counts 1 of 2, the files 2 of 2"),
    ("accuracy 1 files", 3, "accuracy of 'blur' counts 0 of 3, the files 0 of 2"),
    ("accuracy 0 all_bits", 3, "out of range"),
    ("accuracy 0 bit_accuracy", 1.01, "out of range"),
    ("accuracy 0 interval", [0.5], "out of range"),
    ("accuracy 0 interval", [0.6, 0.5], "out of range"),
    ("negatives 1 accused", 0, "negatives of 'style \"x\"' count 0 of 1, the files 1 of 1"),
    ("settings size", "8", "settings.size is '8', expected a whole number"),
]


def put(content, place, value):
    *way, last = (int(word) if word.isdigit() else word for word in place.split())
    for word in way:
        content = content[word]
    content[last] = value


def test_the_example(demo, content):
    report = read_report(demo(content))
    assert [file.named for file in report.files[:3]] == ["alice", None, None]
    assert report.seconds.generate == 2.0
    assert report.files[2].confidence is None


@pytest.mark.parametrize(("place", "value", "message"), FAULTS, ids=[f"{f[0]}={f[1]}"[:40] for f in FAULTS])
def test_contradictions(demo, content, place, value, message):
    put(content, place, value)
    with pytest.raises(ValueError, match=r"report\.json") as error:
        read_report(demo(content))
    assert message in str(error.value)


def test_a_missing_field(demo, content):
    del content["settings"]["alpha"], content["title"]
    with pytest.raises(ValueError, match="lacks title; expected title, created"):
        read_report(demo(content))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\udcff"])
def test_no_json(tmp_path, text):
    (tmp_path / "report.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match="not a readable JSON file"):
        read_report(tmp_path)


def test_another_json(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps([1]))
    with pytest.raises(ValueError, match=r"report\.json is \[1\], expected an object"):
        read_report(tmp_path)


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match="run the demonstration again"):
        read_report(tmp_path)
