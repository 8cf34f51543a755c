"""From a configuration to what it names.

A section of a configuration is the keyword arguments of one function, so each field is stated where it is
used, and a misspelt, missing or unused field is refused before any device is touched. Heavy modules are
imported when needed.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Int

if TYPE_CHECKING:
    from latentfp.runtime.loop import Objective

Fields = Mapping[str, Any]
Result = TypeVar("Result")
MAY_CHANGE = ("train.steps", "train.*_every", "train.keep", "data.data_dir")  # of a run that is resumed


def prepare(config: Fields, *, workdir: Path) -> Callable[[], object]:
    """What `config["run"]` names, ready to be called. ValueError says which field does not fit."""
    sections = {name: value for name, value in config.items() if name != "run"}
    task = choose(RUNS, config.get("run"), field="run")
    return call(task, sections, section="config", config=config, workdir=workdir)


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
    check_fields(loop.train, durations, section="config.train", given=given)
    processes.join(os.environ)
    trained = make_objective(**objective)
    devices = mesh.data_mesh()
    rows = mesh.rows_here(devices, batch)
    with mesh.leader_first():  # writes the data set
        batches = make_batches(data, batch=batch, seed=seed, rows=rows) if data else lambda _: repeat(rows)
    checkpoint.record_config(workdir, config, may_change=MAY_CHANGE)
    return partial(loop.train, trained, batches, workdir=workdir, seed=seed, mesh=devices, **durations)


def measurement(
    *, config: Fields, workdir: Path, seed: int, study: Fields
) -> Callable[[], dict[str, Any] | None]:
    """The measurement that `config["run"]` names; None where other processes still measure parts of it."""
    from latentfp.runtime import processes

    module = importlib.import_module(
        f"latentfp.{'bench' if config['run'] in BENCHES else 'studies'}.{config['run']}"
    )
    share, given = processes.share_of(os.environ), {"seed": seed, "workdir": workdir}
    if "share" in inspect.signature(module.run).parameters:
        given["share"] = share
    elif share.count > 1:
        raise ValueError(
            f"{config['run']} runs in one process, not {share.count}: its parts cannot be shared"
        )
    check_fields(module.run, study, section="config.study", given=set(given))
    if "plan" in study:
        check_fields(module.Plan, study["plan"], section="config.study.plan", given=set())
    return partial(module.run, **study, **given)


def reported(
    *, config: Fields, workdir: Path, seed: int, study: Fields, page: str
) -> Callable[[], Path | None]:
    """A measurement with its tables and plots, and its page on stdout. `page`: module:function of report/."""
    measure = measurement(config=config, workdir=workdir, seed=seed, study=study)

    def run() -> Path | None:
        result = measure()
        if result is None:
            sys.stderr.write(f"{workdir}: done here; the process that ends last writes the page\n")
            return None
        module, function = page.split(":")
        path = getattr(importlib.import_module(f"latentfp.report.{module}"), function)(workdir, result)
        sys.stdout.write(path.read_text())
        return path

    return run


def make_objective(*, name: str | None = None, **fields: Any) -> "Objective":
    """The training objective of this name."""
    return call(choose(OBJECTIVES, name, field="objective.name")(), fields, section="config.objective")


def decoder_objective(
    *,
    deployment: str,
    network: Fields,
    shares: Fields,
    learning: Fields,
    pool: Fields | None = None,
) -> "Objective":
    """The training of a decoder for the deployment in a folder."""
    from latentfp.deployment import decoders
    from latentfp.training import decoder
    from latentfp.training.examples import Shares
    from latentfp.training.pool import Pool

    return decoders.objective(
        deployment,
        network=call(decoder.Network, network, section="config.objective.network"),
        shares=call(Shares, shares, section="config.objective.shares"),
        learning=call(decoder.Learning, learning, section="config.objective.learning"),
        pool=call(Pool, pool or {}, section="config.objective.pool"),
    )


def first_stage_objective(
    *, size: int, network: Fields, critic: Sequence[int], learning: Fields
) -> "Objective":
    """The training of a first stage."""
    from latentfp.generators.latent_diffusion.first_stage import FirstStage
    from latentfp.training import first_stage

    check_fields(FirstStage, network, section="config.objective.network", given={"parent", "name"})
    check_fields(first_stage.Learning, learning, section="config.objective.learning", given=set())
    return first_stage.objective(size=size, network=network, critic=critic, learning=learning)


def diffusion_objective(
    *, first_stage: str, denoiser: Fields, schedule: str, steps: int, eta: float, learning: Fields
) -> "Objective":
    """The training of a denoiser."""
    from latentfp.generators.latent_diffusion.unet import UNet
    from latentfp.training import diffusion

    given = {"parent", "name", "latent"}  # by Flax and by the first stage
    check_fields(UNet, denoiser, section="config.objective.denoiser", given=given)
    check_fields(diffusion.Learning, learning, section="config.objective.learning", given=set())
    sampling: dict[str, Any] = {"schedule": schedule, "steps": steps, "eta": eta}
    return diffusion.objective(first_stage=first_stage, denoiser=denoiser, learning=learning, **sampling)


def make_batches(
    data: Fields, *, batch: int, seed: int, rows: Int[np.ndarray, " r"]
) -> Callable[[int], Iterator[np.ndarray]]:
    """The stream of uint8 images [r h w 3] as a function of the first step: `rows` of every batch."""
    from latentfp.data import pipeline

    folder = data.get("data_dir") or pipeline.default_data_dir()
    source = call(pipeline.open_source, {**data, "data_dir": folder}, section="config.data")
    return lambda first: pipeline.batches(source, batch=batch, seed=seed, first_step=first, rows=rows)


def call(function: Callable[..., Result], fields: Fields, *, section: str, **given: Any) -> Result:
    """`function(**fields, **given)`, once the fields are known to be all of the function's and only those."""
    check_fields(function, fields, section=section, given=set(given))
    return function(**fields, **given)


def check_fields(function: Callable[..., Any], fields: Fields, *, section: str, given: set[str]) -> None:
    """ValueError lists fields that `function` lacks and those that it needs beside the `given` ones."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in given
    }
    unknown = sorted(fields.keys() - parameters.keys())
    needed = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
    missing = sorted(needed - fields.keys())
    if unknown or missing:
        raise ValueError(
            f"{section} does not fit: unknown fields {unknown}, missing fields {missing}; "
            f"its fields are {sorted(parameters)}"
        )


def choose(table: Mapping[str, Result], name: Any, *, field: str) -> Result:
    """The entry of this name. ValueError lists the known names."""
    if name not in table:
        raise ValueError(f"config.{field} is {name!r}: choose one of {sorted(table)}")
    return table[name]


def _stylegan2_gan() -> Callable[..., "Objective"]:
    from latentfp.training import gan

    return gan.objective


OBJECTIVES: dict[str, Callable[[], Callable[..., "Objective"]]] = {
    "decoder": lambda: decoder_objective,
    "diffusion": lambda: diffusion_objective,
    "first_stage": lambda: first_stage_objective,
    "stylegan2_gan": _stylegan2_gan,
}
PAGES = {
    "accuracy": "study:write_study",
    "attribution": "attribution:write_attribution",
    "capacity": "capacity:write_capacity",
    "design": "design:write_design",
    "false_accusations": "false_accusations:write_false_accusations",
    "robustness": "robustness:write_robustness",
    "scaling": "scaling:write_scaling",
    "search": "search:write_search",
    "throughput": "bench:write_bench",
}
MEASUREMENTS = (
    *("adversary", "collusion", "fidelity", "identification", "membership", "published_sizes", "white_box"),
)
BENCHES = ("published_sizes", "scaling", "search", "throughput")
RUNS: dict[str, Callable[..., Callable[[], object]]] = {
    "train": train,
    **dict.fromkeys(MEASUREMENTS, measurement),
    **{name: partial(reported, page=page) for name, page in PAGES.items()},
}
