"""A real SLURM of this machine alone: a study and a training, started by sbatch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mean_image
import numpy as np
import pytest
import small_study
from linear_space import write_deployment
from tolerances import SAME_PROGRAM

from latentfp.studies import capacity

ROOT = Path(mean_image.__file__).parents[1]
CONFIG = """
from configs.studies import capacity

def get_config():
    config = capacity.get_config()
    small = {{"suites": ("codecs",), "images": 2, "users": (1, 1000), "alpha": 1e-2}}
    config.update({{"seed": 1, "stream": "tune", "study": {{"deployment": {deployment!r}, **small}}}})
    return config
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("slurmd"), reason="SLURM is not installed: apt-get install slurm-wlm"
    ),
]


def submit(log, *command):
    """Run a job of two tasks and wait for it."""
    job = ["sbatch", "--wait", "--ntasks=2", f"--output={log}", str(ROOT / "launch" / "slurm.sh"), *command]
    here = ["bash", str(ROOT / "launch" / "one_node_slurm.sh"), *job]
    ended = subprocess.run(here, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stderr + (log.read_text() if log.exists() else "")


def test_tasks_share_a_study(tmp_path):
    deployment = str(write_deployment(tmp_path))
    config = tmp_path / "small.py"
    config.write_text(CONFIG.format(deployment=deployment))
    main = [sys.executable, "-m", "latentfp.main", f"--config={config}", f"--workdir={tmp_path / 'shared'}"]
    submit(tmp_path / "log", *main)
    settings = capacity.Settings(deployment, ("codecs",), 2, (1, 1000), 1e-2)
    alone = small_study.run(capacity, settings, tmp_path / "alone", seed=1)
    shared = json.loads((tmp_path / "shared" / "capacity.json").read_text())
    assert shared["rows"] == alone["rows"]
    assert "the process that ends last writes the result" in (tmp_path / "log").read_text()
    assert (tmp_path / "shared" / "capacity.md").exists()


def test_tasks_join_for_a_training(tmp_path):
    """They find one another by SLURM's own variables."""
    program = [sys.executable, str(ROOT / "tests" / "mean_image.py"), str(tmp_path / "run")]
    submit(tmp_path / "log", *program, "20", "SIGKILL", "99")
    expected = mean_image.run(tmp_path / "alone", 20)["image"]
    np.testing.assert_allclose(np.load(tmp_path / "run" / "export" / "image.npy"), expected, **SAME_PROGRAM)
    parts = (tmp_path / "run" / "checkpoints" / "20" / "default").glob("ocdbt.process_*")
    assert {path.name for path in parts} == {"ocdbt.process_0", "ocdbt.process_1"}
