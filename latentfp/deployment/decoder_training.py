"""The training of a decoder for a deployment. Apart from decoders.py, for reading codes needs none of it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentfp.deployment import decoders
from latentfp.deployment.constants import subject_in
from latentfp.deployment.deployment import load_generator, open_deployment
from latentfp.runtime.loop import Objective
from latentfp.training import decoder as training
from latentfp.training.examples import Shares, Source
from latentfp.training.pool import NO_POOL, Pool
from latentfp.types import Params


def objective(
    deployment: str | os.PathLike[str],
    *,
    network: Mapping[str, Any],
    shares: Shares,
    learning: training.Learning,
    pool: Pool = NO_POOL,
) -> Objective:
    """The training of a decoder for the deployment in this folder."""
    opened = open_deployment(deployment)
    loaded, manifest = load_generator(opened), opened.manifest
    subject = subject_in(opened, loaded)

    def export(weights: Params, folder: Path) -> None:
        belongs = decoders.belonging(opened)
        decoders.save(folder, weights, network=network, iterations=learning.iterations, belongs=belongs)

    source = Source(loaded.generator, loaded.params, opened.space, manifest.sigma, manifest.coding)
    return training.objective(
        source,
        subject.whitened,
        subject.curvature(),
        network=network,
        shares=shares,
        learning=learning,
        pool=pool,
        export=export,
    )
