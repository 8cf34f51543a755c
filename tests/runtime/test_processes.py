"""Which process this is, as those who start it say."""

import subprocess
import time
from pathlib import Path

import jax
import pytest

from latentfp.runtime.processes import ALONE, LOST_SECONDS, Share, checked, join, share_of

LOCAL = Path(__file__).parents[2] / "launch" / "local.sh"


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, Share(0, 1)),
        ({"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4"}, Share(2, 4)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, Share(0, 1)),
        ({"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "3"}, Share(0, 3)),
        ({"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "6"}, Share(5, 6)),
        (
            {
                "SLURM_PROCID": "0",
                "SLURM_STEP_NUM_TASKS": "1",
                "LATENTFP_PROCESS": "1",
                "LATENTFP_PROCESSES": "2",
            },
            Share(1, 2),
        ),
        ({"SLURM_PROCID": "2"}, Share(0, 1)),
        ({"TPU_WORKER_ID": "1", "TPU_WORKER_HOSTNAMES": "10.0.0.1,10.0.0.2"}, Share(1, 2)),
        ({"TPU_WORKER_ID": "0", "TPU_WORKER_HOSTNAMES": "localhost"}, Share(0, 1)),
    ],
)
def test_the_environment_says_it(environment, share):
    assert share_of(environment) == share


@pytest.mark.parametrize(("index", "count"), [("4", "4"), ("-1", "2"), ("one", "2"), (0, 0)])
def test_what_is_no_share_is_refused_by_name(index, count):
    with pytest.raises(ValueError, match="A and B are"):
        checked(index, count, named="A and B")


@pytest.mark.parametrize(
    ("variable", "missing"),
    [
        ("LATENTFP_PROCESS", "LATENTFP_PROCESSES"),
        ("LATENTFP_PROCESSES", "LATENTFP_PROCESS"),
        ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
    ],
)
def test_half_of_a_pair_is_refused(variable, missing):
    """So many processes would all believe to be alone."""
    with pytest.raises(ValueError, match=f"{missing}.* only {variable} is set|only {variable} is set"):
        share_of({variable: "1"})


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_all_of_the_work_and_nothing_twice(count):
    pieces = [Share(index, count).of(range(5)) for index in range(count)]
    assert sorted(piece for share in pieces for piece in share) == list(range(5))


def test_a_process_that_cannot_find_the_others_says_what_to_set(monkeypatch):
    def nowhere(**_):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", nowhere)
    with pytest.raises(ValueError, match="process 1 of 2 cannot find the others: set JAX_COORD"):
        join({"LATENTFP_PROCESS": "1", "LATENTFP_PROCESSES": "2"})


def test_one_process_joins_nobody():
    assert join({}) == ALONE


def test_local_waits_for_a_process_that_still_saves(tmp_path):
    """SIGTERM ends the wait of launch/local.sh, not that of what it started."""
    saving = 'trap "sleep 1; touch $0/saved; exit 3" TERM; touch $0/begun; while true; do sleep 0.1; done'
    local = subprocess.Popen(["bash", str(LOCAL), "1", "bash", "-c", saving, str(tmp_path)])
    while not (tmp_path / "begun").exists():
        time.sleep(0.05)
    local.terminate()
    assert local.wait(timeout=30) == 1
    assert (tmp_path / "saved").exists()


def test_a_lost_process_is_noticed_soon(monkeypatch):
    given = {}
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **settings: given.update(settings))
    join({"LATENTFP_PROCESS": "1", "LATENTFP_PROCESSES": "2", "JAX_COORDINATOR_ADDRESS": "127.0.0.1:1"})
    assert given["heartbeat_timeout_seconds"] == LOST_SECONDS
