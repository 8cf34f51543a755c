"""Real processes of one training, started by launch/local.sh: the same run on any number, killed or not."""

import shutil
import subprocess
import sys
from pathlib import Path

import mean_image
import numpy as np
import pytest
from mean_image import rows_of, saved_steps
from PIL import Image
from tolerances import SAME_PROGRAM

ROOT = Path(mean_image.__file__).parents[1]
STEPS = 45


def train(folder, processes, *, sent="SIGKILL", at=99):
    """The toy's training; the last process sends itself a signal when it asks for the data of a step."""
    program = [sys.executable, str(ROOT / "tests" / "mean_image.py"), str(folder), str(STEPS), sent, str(at)]
    local = ["bash", str(ROOT / "launch" / "local.sh"), str(processes), *program]
    return subprocess.run(local, capture_output=True, text=True, timeout=300)


def writers(folder, step):
    """The processes that wrote a part of a checkpoint."""
    return {path.name.split("_")[-1] for path in folder.glob(f"checkpoints/{step}/default/ocdbt.process_*")}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of one process, and the state."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "clu", None)
        return folder, mean_image.run(folder, STEPS)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    folder = tmp_path_factory.mktemp("four")
    done = train(folder, 4)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder of four processes of which the last was killed at step 33; the others did not wait."""
    folder = tmp_path_factory.mktemp("killed")
    ended = train(folder, 4, at=33)
    assert ended.returncode != 0
    return folder


def assert_same_state(folder, alone):
    """Each sum over a batch has another order, no more."""
    exported = np.load(folder / "export" / "image.npy")
    np.testing.assert_allclose(exported, alone[1]["image"], **SAME_PROGRAM)


def assert_same(folder, alone):
    assert_same_state(folder, alone)
    expected, _ = alone
    rows, before = rows_of(folder), rows_of(expected)
    assert [row.keys() for row in rows] == [row.keys() for row in before]
    for row, wanted in zip(rows, before, strict=True):
        np.testing.assert_allclose(list(row.values()), list(wanted.values()), **SAME_PROGRAM)
    for path in (expected / "previews").iterdir():
        one, other = (np.asarray(Image.open(at / "previews" / path.name), int) for at in (expected, folder))
        assert np.abs(one - other).max() <= 1


@pytest.mark.slow
def test_four_processes_train_as_one(four, alone):
    assert_same(four, alone)
    assert saved_steps(four) == [40, 45]


@pytest.mark.slow
def test_all_processes_write_checkpoints(four):
    assert writers(four, 45) == {"0", "1", "2", "3"}


@pytest.mark.slow
def test_two_processes_go_on_where_one_of_four_was_killed(killed, alone, tmp_path):
    """SIGKILL loses nothing but the steps since the checkpoint."""
    assert saved_steps(killed) == [20, 30]
    folder = shutil.copytree(killed, tmp_path / "two")
    assert train(folder, 2).returncode == 0
    assert_same(folder, alone)


@pytest.mark.slow
def test_the_same_number_of_processes_goes_on_bit_for_bit(killed, four, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "four")
    assert train(folder, 4).returncode == 0
    assert rows_of(folder) == rows_of(four)
    at = Path("export") / "image.npy"
    assert (folder / at).read_bytes() == (four / at).read_bytes()


@pytest.mark.slow
def test_sigterm_to_one_stops_all_after_the_same_step(alone, tmp_path):
    """When the other learns of it is not known, but the steps that both have done are the same."""
    ended = train(tmp_path, 2, sent="SIGTERM", at=13)
    assert ended.returncode != 0, ended.stderr
    assert 13 <= saved_steps(tmp_path)[-1] < STEPS, "only the usual checkpoints"
    assert writers(tmp_path, saved_steps(tmp_path)[-1]) == {"0", "1"}
    assert train(tmp_path, 1).returncode == 0
    assert_same_state(tmp_path, alone)


@pytest.mark.slow
def test_the_others_wait_for_what_the_first_makes(tmp_path):
    program = """
import os, sys, time
from pathlib import Path
from latentfp.runtime import mesh, processes
share = processes.join(os.environ)
made = Path(sys.argv[1])
with mesh.leader_first():
    if share.index == 0:
        time.sleep(1)
        made.mkdir()  # fails where it is there
    (made / f"{share.index}").touch(exist_ok=False)
"""
    local = ["bash", str(ROOT / "launch" / "local.sh"), "3", sys.executable, "-c", program]
    ended = subprocess.run([*local, str(tmp_path / "made")], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["0", "1", "2"]
