"""Every hostile file through the command `latentfp import`, in a process of its own that is measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_files import write_all

SECONDS, MEBIBYTES = 5.0, 1024
PROGRAM = """
import json, re, sys, time
from pathlib import Path
from latentfp import cli
from latentfp.checkpoints import formats  # noqa: F401  so that imports are not measured

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

out, started = Path(sys.argv[1]), peak()
for line in sys.stdin:
    name, path = json.loads(line)
    began, error = time.process_time(), None
    try:
        cli.app(["import", path, "--out", str(out / "generator")], standalone_mode=False)
    except (ValueError, OSError) as caught:
        error = str(caught)
    except BaseException as caught:
        error = None if isinstance(caught, SystemExit) else f"!{type(caught).__name__}"
    row = [name, path, error, time.process_time() - began, peak() - started]
    print("ROW" + json.dumps(row), flush=True)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Name, path, error, seconds and peak mebibytes so far of every file; and the marker of executed code."""
    folder = tmp_path_factory.mktemp("hostile")
    marker = folder / "executed"
    files = [(name, str(path)) for name, path in write_all(folder, marker)]
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        input="".join(json.dumps(file) + "\n" for file in files),
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    rows = [json.loads(line[3:]) for line in ran.stdout.splitlines() if line.startswith("ROW")]
    assert [row[:2] for row in rows] == [list(file) for file in files]
    return rows, marker, folder


def test_there_are_many(answers):
    assert len(answers[0]) >= 100


def test_all_are_refused_with_a_reason(answers):
    for name, path, error, *_ in answers[0]:
        assert error is not None, name
        assert not error.startswith("!"), (name, error)
        assert path in error, (name, error)
        assert len(error) < len(path) * 3 + 600, name
        assert "\n" not in error, name


def test_no_code_runs_and_nothing_is_written(answers):
    _, marker, folder = answers
    assert not marker.exists()
    assert not (folder / "generator").exists()


def test_refusing_is_quick_and_takes_little_memory(answers):
    slow = {name: seconds for name, _, _, seconds, _ in answers[0] if seconds > SECONDS}
    assert slow == {}
    assert answers[0][-1][-1] < MEBIBYTES


def test_a_forbidden_name_is_named(answers):
    asked = {
        "os.system": "system",
        "eval": "builtins.eval",
        "torch.hub": "torch.hub.load",
        "subprocess": "subprocess.Popen",
    }
    for name, _, error, *_ in answers[0]:
        known = asked.get(name.partition(": ")[2])
        assert known is None or known in error, (name, error)
    assert Path(answers[0][0][1]).exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tensor: a table as storage", "a storage that is no plain row of numbers"),
        ("tensor: doubled tuples as shape", "a shape or strides that are no whole numbers"),
        ("tensor: doubled tuples as offset", "a shape or strides that are no whole numbers"),
        ("tensor: a long number as shape", "a number of more than 1024 bits"),
        ("folder: deep setting", "nested more than 32 deep"),
    ],
)
def test_each_is_refused_for_what_is_wrong_with_it(answers, name, reason):
    """And not for something that was met later, when the harm was done."""
    errors = {found: error for found, _, error, *_ in answers[0]}
    assert reason in errors[name]
