"""Training as a stage of a bench: the step of an objective as runtime/loop.py compiles it, lazy updates too.

A lazy update counts as often as it occurs in a long run: one `every`-th of a step. Batches lie on the device
beforehand, so what reading data costs is not in it.
"""

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latentfp import rng
from latentfp.bench.stages import Pixels, Program, Stage
from latentfp.deployment import decoder_training
from latentfp.generators import pretrained
from latentfp.runtime import mesh
from latentfp.runtime.loop import Lazy, Objective, one_step
from latentfp.studies.context import Context
from latentfp.training import diffusion


def training(
    context: Context,
    pixels: Pixels,
    *,
    objective: Callable[..., Objective],
    fields: Mapping[str, Any],
    batch: int,
) -> Stage:
    """The step of an objective on the first `batch` of images, or on as many examples of a decoder's own.

    `objective` makes it of its fields and of the deployment or first stage, which are the context's own.
    """
    data = np.arange(batch) if objective is decoder_training.objective else pixels[:batch]
    return Stage(batch, programs(objective_of(context, objective, fields), data, seed=context.seed))


def objective_of(context: Context, make: Callable[..., Objective], fields: Mapping[str, Any]) -> Objective:
    """What `make` makes for the context."""
    if make is decoder_training.objective:
        return make(context.opened.path, **fields)
    if make is diffusion.objective:
        with tempfile.TemporaryDirectory() as folder:
            _save_first_stage(context, Path(folder))
            return make(first_stage=folder, **fields)
    return make(**fields)


def programs(objective: Objective, data: np.ndarray, *, seed: int) -> list[Program]:
    """The main update and the lazy ones, each with a first state of its own, since a call uses it up."""
    devices = mesh.data_mesh()
    init = partial(objective.init, rng.stream(rng.root(seed), "init"))
    state, batch = mesh.init_replicated(init, devices), mesh.shard_batch(devices, data)
    return [
        Program(
            "update" if number == 0 else f"every {part.every}",
            mesh.data_parallel(one_step(part, seed, number), devices),
            (jax.tree.map(jnp.copy, state), batch, np.int32(0)),
            1 / part.every,
            carry=itemgetter(0),
        )
        for number, part in enumerate((Lazy(1, objective.update), *objective.lazy))
    ]


def _save_first_stage(context: Context, folder: Path) -> None:
    """That of the deployment's own generator."""
    stored = pretrained.read(pretrained.folder_of(context.opened.manifest.generator.name))
    pretrained.save(
        folder,
        kind="first_stage",
        fields={
            "size": stored.fields["size"],
            "network": stored.fields["first_stage"],
            "scale": stored.fields["scale"],
        },
        params=stored.params["first_stage"],
        noise_seed=0,
    )
