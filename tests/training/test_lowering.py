"""Programs that run here are those that run on accelerators: each lowers for CUDA and for TPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lowering import PIPELINES

HERE = Path(__file__).parent
# Some of the programs of each, so that a recorder which sees nothing is no success.
SEEN = {
    "attribution": {"_linearize", "_conjugate_gradient", "_move", "code_variances", "begin", "read"},
    "descents_on_a_device": {"steps_until_done"},
    "adversarial_training": {"one_step.<locals>.step"},
    "diffusion_training": {"one_step.<locals>.step"},
    "decoder_training": {"one_step.<locals>.step"},
    "search": {"map_shared.<locals>.<lambda>"},
}


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_program_lowers_for_accelerators(pipeline):
    path = os.pathsep.join(map(str, (HERE.parent.parent, HERE.parent, HERE)))
    done = subprocess.run(
        [sys.executable, str(HERE / "lowering.py"), pipeline],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *failures, programs = done.stdout.splitlines()[-50:]
    assert failures == []
    assert SEEN[pipeline] <= set(programs.partition(": ")[2].split(", "))
