"""Very many files by several processes: the same parts whoever makes them, killed or not."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from linear_space import write_deployment
from pyarrow import parquet

from latentfp import cli
from latentfp.data.listing import Listing
from latentfp.deployment.attribute import Request, attribute
from latentfp.deployment.bulk import COLUMNS, bulk
from latentfp.deployment.copies import generate_files
from latentfp.deployment.deployment import open_deployment
from latentfp.deployment.registry import Registry
from latentfp.runtime.processes import Share

ROOT = Path(__file__).parents[2]
PART, REQUEST = 4, Request()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A deployment, and 22 files in a folder, one of them torn."""
    folder = tmp_path_factory.mktemp("bulk")
    deployment = write_deployment(folder)
    for user in ("alice", "bob"):
        generate_files(deployment, user=user, count=11, out=folder / "images", seed=5, suffix="png")
    sorted((folder / "images").iterdir())[7].write_bytes(b"torn")
    return deployment, folder / "images"


def run(made, out, share, **changed):
    deployment, images = made
    return bulk(deployment, Listing([images]), out, REQUEST, share, part=PART, **changed)


def parts(out):
    return {path.name: parquet.read_table(path).to_pylist() for path in sorted(out.glob("part-*.parquet"))}


@pytest.fixture(scope="module")
def alone(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    assert run(made, out, Share()) == (6, 6, 6)
    return parts(out)


def test_a_part_is_logged_before_it_is_there(made, tmp_path, monkeypatch):
    logged = []

    def note(_, action, subject):
        logged.append((action, subject["part"], (tmp_path / f"part-{subject['part']:06d}.parquet").exists()))

    monkeypatch.setattr(Registry, "note", note)
    run(made, tmp_path, Share(0, 3))
    assert logged == [("attribute", 0, False), ("attribute", 3, False)]
    assert [path.name for path in sorted(tmp_path.glob("*.parquet"))] == [
        "part-000000.parquet",
        "part-000003.parquet",
    ]


def test_parts_say_what_attribution_says(made, alone):
    deployment, images = made
    rows = [row for part in alone.values() for row in part]
    found = list(attribute(deployment, [images], REQUEST))
    assert [row["file"] for row in rows] == [it.file for it in found]
    assert [(row["verdict"], row["user"]) for row in rows] == [(it.verdict, it.user) for it in found]
    assert sum(row["verdict"] == "user" for row in rows) >= 18
    assert [row["verdict"] for row in rows].count("unreadable") == 1
    assert list(rows[0]) == list(COLUMNS)
    assert [len(part) for part in alone.values()] == [4, 4, 4, 4, 4, 2]


def test_any_number_of_processes_makes_the_same_parts(made, alone, tmp_path):
    for index in (2, 0, 1):
        done = run(made, tmp_path, Share(index, 3))
        assert done.made == 2
    assert done.complete == done.parts == 6
    assert parts(tmp_path) == alone


def test_a_job_goes_on_with_another_number_of_processes(made, alone, tmp_path):
    run(made, tmp_path, Share(1, 4))
    assert len(parts(tmp_path)) == 2
    assert run(made, tmp_path, Share()).made == 4
    assert parts(tmp_path) == alone
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bulk.json", *alone]


def test_a_folder_is_one_jobs(made, tmp_path):
    run(made, tmp_path, Share(5, 6))
    deployment, images = made
    files = Listing([images])[:]

    def written(chosen):
        (tmp_path.parent / "some.txt").write_text("".join(f"{path}\n" for path in chosen))
        return Listing([tmp_path.parent / "some.txt"])

    with pytest.raises(ValueError, match="another job"):
        bulk(deployment, written(files[:-1]), tmp_path, REQUEST, Share(), part=PART)
    with pytest.raises(ValueError, match="another job"):
        bulk(deployment, written(files[::-1]), tmp_path, REQUEST, Share(), part=PART)
    with pytest.raises(ValueError, match="another job"):
        bulk(deployment, Listing([images]), tmp_path, REQUEST._replace(strict_size=True), Share(), part=PART)
    assert len(parts(tmp_path)) == 1


def test_every_part_is_in_the_audit_log(made, tmp_path):
    before = len(list(open_deployment(made[0]).registry.audit()))
    run(made, tmp_path, Share(0, 3))
    entries = list(open_deployment(made[0]).registry.audit())[before:]
    assert [entry.action for entry in entries] == ["attribute", "attribute"]


@pytest.mark.slow
def test_a_killed_process_loses_nothing(made, tmp_path):
    """A real process that is killed by SIGKILL in the middle; two others finish its job."""

    def command(out):
        options = ["--deployment", str(made[0]), "--out", str(tmp_path / out), "--part", str(PART)]
        return [sys.executable, "-m", "latentfp.cli", "bulk", *options, str(made[1])]

    subprocess.run(command("whole"), cwd=ROOT, capture_output=True, timeout=300, check=True)
    whole = parts(tmp_path / "whole")
    killed = subprocess.Popen(command("killed"), cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not parts(tmp_path / "killed") and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    there = parts(tmp_path / "killed")
    assert there
    assert all(whole[name] == rows for name, rows in there.items()), "parts are whole or not there"
    local = ["bash", str(ROOT / "launch" / "local.sh"), "2", *command("killed")]
    result = subprocess.run(local, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert "6 of 6 there" in result.stdout
    assert parts(tmp_path / "killed") == whole


@pytest.mark.parametrize("until", ["encoder", "refine"])
def test_the_last_stage_is_that_which_is_asked_for(made, tmp_path, until):
    options = ["--deployment", str(made[0]), "--out", str(tmp_path), "--part", "22", "--until", until]
    cli.app(["bulk", *options, str(made[1])], standalone_mode=False)
    (rows,) = parts(tmp_path).values()
    assert {row["stage"] for row in rows if row["user"]} == {until}
    assert sum(row["user"] is not None for row in rows) == 21


def test_local_processes_report_failure():
    local = ["bash", str(ROOT / "launch" / "local.sh"), "3", "bash", "-c", "exit $((LATENTFP_PROCESS == 1))"]
    assert subprocess.run(local, check=False).returncode == 1
    local[-1] = "[ $LATENTFP_PROCESSES = 3 ]"
    assert subprocess.run(local, check=False).returncode == 0
