"""From a configuration to the program that it names, ready to be run.

`config.run` is one of the functions below, and what it trains or measures is a function of the package under
`make` or `measure`: a configuration imports what it runs. Fields that do not fit are refused before any
device is touched (runtime/fields.py).
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
from jaxtyping import Int

from latentfp.runtime import fields
from latentfp.runtime.fields import Fields

CONFIGS = (Path(__file__).parents[1] / "configs", Path(__file__).parent / "configs")  # checkout, or wheel
MAY_CHANGE = ("train.steps", "train.*_every", "train.keep", "data.data_dir")  # of a run that is resumed
Page = Callable[[Path, dict[str, Any]], Path]
CODE = ("run", "*.make")  # functions, which another version of the code may have moved


def shipped() -> Path:
    """The folder of the configurations that came with the package."""
    return next((folder for folder in CONFIGS if (folder / "base.py").exists()), CONFIGS[0])


def find(name: str, *, kind: str) -> str:
    """The file of a configuration, with its argument: NAME[:ARGUMENT] of a kind, or a path.

    `kind`: a folder of the shipped ones, "" for the trainings. ValueError lists what there is.
    """
    path, colon, argument = name.partition(":")
    folder = shipped() / kind
    file = Path(path) if path.endswith(".py") or os.sep in path else folder / f"{path}.py"
    if not file.is_file():
        known = sorted(entry.stem for entry in folder.glob("*.py") if entry.stem != "base")
        raise ValueError(f"no configuration {path}: give the path of a file, or one of {', '.join(known)}")
    return f"{file}{colon}{argument}"


def load(config: str, changes: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of the configuration in FILE[:ARGUMENT], with changes such as --config.seed=1.

    ValueError where the file fails or a change is not understood.
    """
    from absl import flags
    from ml_collections import config_flags

    _let_configs_be_imported()
    values = flags.FlagValues()
    holder = config_flags.DEFINE_config_file("config", None, "", flag_values=values)
    given = [f"--config={config}", *changes]
    before, sys.argv = sys.argv, ["latentfp", *given]  # where config_flags looks for changed fields
    try:
        rest = values(sys.argv)[1:]
    except (flags.Error, ImportError, AttributeError, KeyError, TypeError) as error:
        cause = error.__context__ if isinstance(error.__context__, KeyError) else error
        told = " ".join(str(cause.args[0]).split())
        raise ValueError(f"{config}: {told}") from error
    finally:
        sys.argv = before
    if rest:
        raise ValueError(f"not understood: {' '.join(rest)}")
    return holder.value.to_dict()


def _let_configs_be_imported() -> None:
    """`configs`, which configurations import from one another, wherever the package is installed."""
    if "configs" not in sys.modules and importlib.util.find_spec("configs") is None:
        module = ModuleType("configs")
        module.__path__ = [str(shipped())]
        sys.modules["configs"] = module


def show_log() -> None:
    """Let what a run logs, such as the numbers of a training, appear on stderr."""
    from absl import logging

    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)


def prepare(config: Fields, *, workdir: Path) -> Callable[[], object]:
    """What `config["run"]` is, ready to be called. ValueError says which field does not fit."""
    run: Any = config.get("run")
    if not callable(run):
        raise ValueError(f"config.run is {run!r}: expected a function such as latentfp.build.train")
    sections = {name: value for name, value in config.items() if name != "run"}
    given = {"config": config, "workdir": workdir}
    return cast(Callable[[], object], fields.call(run, sections, section="config", **given))


def train(
    *, config: Fields, workdir: Path, seed: int, objective: Fields, train: Fields, data: Fields | None = None
) -> Callable[[], object]:
    """The training of an objective. `train` holds `batch` (images a step) and the durations of loop.train.

    Without `data`, for an objective that makes its own examples, a batch is their numbers 0 … batch - 1.
    """
    from latentfp.runtime import checkpoint, loop, mesh, processes

    batch, durations = train.get("batch"), {name: value for name, value in train.items() if name != "batch"}
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(f"config.train.batch is {batch}: give the number of images of a step, at least 1")
    given = {"objective", "batches", "workdir", "seed", "mesh"}
    fields.check(loop.train, durations, section="config.train", given=given)
    if fields.MAKE not in objective:
        raise ValueError("config.objective.make is missing: the function that makes the objective")
    processes.join(os.environ)
    trained = fields.made(objective, section="config.objective")
    devices = mesh.data_mesh()
    rows = mesh.rows_here(devices, batch)
    with mesh.leader_first():  # writes the data set
        batches = make_batches(data, batch=batch, seed=seed, rows=rows) if data else lambda _: repeat(rows)
    checkpoint.record_config(workdir, fields.recorded(config), may_change=(*MAY_CHANGE, *CODE))
    return partial(loop.train, trained, batches, workdir=workdir, seed=seed, mesh=devices, **durations)


def make_batches(
    data: Fields, *, batch: int, seed: int, rows: Int[np.ndarray, " r"]
) -> Callable[[int], Iterator[np.ndarray]]:
    """The stream of uint8 images [r h w 3] as a function of the first step: `rows` of every batch."""
    from latentfp.data import pipeline

    folder = data.get("data_dir") or pipeline.default_data_dir()
    source = fields.call(pipeline.open_source, {**data, "data_dir": folder}, section="config.data")
    return lambda first: pipeline.batches(source, batch=batch, seed=seed, first_step=first, rows=rows)


def study(
    *,
    config: Fields,
    workdir: Path,
    seed: int,
    name: str,
    title: str,
    stream: str,
    measure: Callable[..., Any],
    study: Fields,
    page: Page | None = None,
) -> Callable[[], Path | None]:
    """An experiment (studies/experiment.py), with its page on stdout once all processes have measured."""
    from latentfp.runtime import processes
    from latentfp.studies import experiment

    del config
    if stream not in list(experiment.Stream):
        raise ValueError(f"config.stream is {stream!r}: expected {' or '.join(experiment.Stream)}")
    share, settings = processes.share_of(os.environ), fields.made(study, section="config.study")
    random = {"stream": experiment.Stream(stream), "seed": experiment.checked(seed)}
    given = {"workdir": workdir, "name": name, "title": title, "share": share, **random}
    return partial(_shown, partial(experiment.run, measure, settings, **given), page, workdir)


def bench(
    *,
    config: Fields,
    workdir: Path,
    seed: int,
    measure: Callable[..., dict[str, Any]],
    study: Fields,
    page: Page | None = None,
) -> Callable[[], Path | None]:
    """A measurement of speed by one process, with its page on stdout."""
    from latentfp.runtime import processes

    del config
    given = {"seed": seed, "workdir": workdir}
    if (count := processes.share_of(os.environ).count) > 1:
        raise ValueError(f"a bench runs in one process, not {count}: its parts cannot be shared")
    fields.check(measure, study, section="config.study", given=set(given))
    settings = fields.made(study, section="config.study")
    return partial(_shown, partial(measure, **settings, **given), page, workdir)


def _shown(measure: Callable[[], dict[str, Any] | None], page: Page | None, workdir: Path) -> Path | None:
    result = measure()
    if result is None or page is None:
        return None
    path = page(workdir, result)
    sys.stdout.write(path.read_text())
    return path
