"""Training and attribution on one and on several processes: how much faster, and how far the same.

All are started by launch/local.sh on this machine, each process on one of its cores, by turns. So with as
many processes as cores the ideal is as many times the speed of one process, and with more it is no faster.
A first run without a measurement fills the cache of compiled programs.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import latentfp
from latentfp.data.files import write_image
from latentfp.fingerprint.codes import draw_codes
from latentfp.runtime.provenance import code_version, hardware
from latentfp.studies.context import Context, identity, marked_images, open_context
from latentfp.studies.experiment import Experiment, Numbers

ROOT = Path(latentfp.__file__).parents[1]
ON_ONE_CORE = f'exec taskset -c "$((LATENTFP_PROCESS % {os.cpu_count()}))" "$@"'
TIMED = ("step", "images_per_second")


class Load(NamedTuple):
    """Numbers of processes; of the training images a step, steps, and steps from one row of metrics to the
    next; files to attribute, and files of a part.
    """

    processes: Sequence[int]
    batch: int
    steps: int
    every: int
    files: int
    part: int


def run(*, deployment: str, training: str, load: Load, seed: int, workdir: Path) -> dict[str, Any]:
    """Measure what `workdir` does not hold yet; report/benches.py shows the result.

    `training`: the configuration of a training on the deployment. ValueError for a deployment without users,
    and where a command fails.
    """
    home, folder = workdir.absolute(), str(Path(deployment).absolute())
    context = open_context(folder, seed=seed)
    users = context.opened.registry.count()
    if users == 0:
        raise ValueError(f"{deployment} has no users: add one with `latentfp users add`")
    home.mkdir(parents=True, exist_ok=True)
    images = _images(context, home / "images", load.files)
    tasks = {
        "training": lambda n: train(training, folder, home / f"training-{n}", n, load),
        "attribution": lambda n: attribute(folder, images, home / f"parts-{n}", n, load),
    }
    counts = (0, *load.processes)  # 0: to fill the cache
    cells = [{"work": name, "processes": n} for name in tasks for n in counts]
    setting = {"users": users, "training": training, **load._replace(processes=())._asdict()}
    measured = Experiment(home, seed=seed).measured(
        cells,
        lambda cell: tasks[cell["work"]](cell["processes"]),
        belongs={**identity(context), **setting},
    )
    rows: dict[str, list[Numbers]] = {name: [] for name in tasks}
    for cell, numbers in zip(cells, measured, strict=True):
        if cell["processes"]:
            rows[cell["work"]].append({"processes": cell["processes"], **numbers})
    result = {
        "deployment": deployment,
        "training_config": training,
        "hardware": hardware(),
        "code": [code_version()],
        "cores": os.cpu_count(),
        **load._asdict(),
        **rows,
    }
    (home / "scaling.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def train(config: str, deployment: str, workdir: Path, processes: int, load: Load) -> Numbers:
    """Images a second, without the rows that compile, and the metrics of the last row."""
    steps = {"steps": load.steps, "log_every": load.every, "checkpoint_every": load.steps}
    fields = {f"train.{name}": value for name, value in {**steps, "batch": load.batch}.items()}
    command = [f"--config={config}", f"--workdir={workdir}", f"--config.objective.deployment={deployment}"]
    command += [f"--config.{name}={value}" for name, value in fields.items()]
    shutil.rmtree(workdir, ignore_errors=True)  # of an interrupted measurement
    seconds = local(processes, [sys.executable, "-m", "latentfp.main", *command])
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    warm = [row["images_per_second"] for row in rows[1:]]
    metrics = {name: value for name, value in rows[-1].items() if name not in TIMED}
    return {
        "per_second": len(warm) / sum(1 / rate for rate in warm),
        "command_seconds": seconds,
        "metrics": metrics,
    }


def attribute(deployment: str, images: Path, out: Path, processes: int, load: Load) -> Numbers:
    """Files a second, starting included, and the hash of all parts."""
    command = [sys.executable, "-m", "latentfp.cli", "bulk", "--deployment", deployment]
    command += ["--part", str(load.part), "--out", str(out), str(images)]
    shutil.rmtree(out, ignore_errors=True)  # of an interrupted measurement
    seconds = local(processes, command)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(out.glob("part-*.parquet"))))
    return {"per_second": load.files / seconds, "command_seconds": seconds, "sha256": digest.hexdigest()}


def local(processes: int, command: Sequence[str]) -> float:
    """Seconds of a command in so many processes (0: one) of a core each. ValueError where one fails."""
    launcher = [str(ROOT / "launch" / "local.sh"), str(max(1, processes))]
    begin = ["bash", *launcher, "bash", "-c", ON_ONE_CORE, "-"]
    began = time.perf_counter()
    ended = subprocess.run([*begin, *command], cwd=ROOT, capture_output=True, text=True)
    if ended.returncode:
        told = ended.stderr[-2000:]
        raise ValueError(f"{processes} processes of {' '.join(command)} failed: {told}")
    return time.perf_counter() - began


def _images(context: Context, folder: Path, count: int) -> Path:
    """A new folder of so many watermarked images of no registered user."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    codes = draw_codes(context.seed, count, bits=context.subject.bits)
    for i, pixels in enumerate(marked_images(context.subject, codes, seed=context.seed)):
        write_image(folder / f"{i:06d}.png", pixels)
    return folder
