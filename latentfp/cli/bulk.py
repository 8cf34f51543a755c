"""Attribution of very many files, by several processes."""

import os
from pathlib import Path
from typing import Annotated

import typer

from latentfp.choices import Stage
from latentfp.cli.options import DeploymentOption, StartsSeedOption, UntilOption, WhereOption


def bulk(
    sources: Annotated[
        list[Path], typer.Argument(help="Folders of images, or .txt files with a path a line.")
    ],
    deployment: DeploymentOption,
    out: Annotated[Path, typer.Option(help="The folder for the parts; made if needed.")],
    part: Annotated[int, typer.Option(min=1, help="Files of a part.")] = 1000,
    process: Annotated[
        int | None, typer.Option(help="Number of this process, from 0; from the environment if left out.")
    ] = None,
    processes: Annotated[int | None, typer.Option(help="How many there are.")] = None,
    alpha: Annotated[float, typer.Option(help="Largest p-value that names a user.")] = 1e-6,
    until: UntilOption = Stage.MULTISTART,
    resize: Annotated[bool, typer.Option(help="Resample files of another size.")] = False,
    seed: StartsSeedOption = 0,
    generator: WhereOption = None,
) -> None:
    """Attribute very many files into Parquet parts; killed jobs go on, with any number of processes.

    Each process makes its share of the parts and skips those that are there. SLURM, indexed Kubernetes jobs,
    Open MPI and launch/local.sh say in the environment which process this is.

    Example: latentfp bulk --deployment deployment --out parts files.txt
    Example: launch/local.sh 4 latentfp bulk --deployment deployment --out parts images
    """
    from latentfp.data.listing import Listing
    from latentfp.deployment import bulk as job
    from latentfp.deployment.attribute import Request
    from latentfp.deployment.deployment import open_deployment
    from latentfp.runtime.processes import checked, share_of

    if (process is None) != (processes is None):
        raise ValueError("--process and --processes need each other: give both or neither")
    share = share_of(os.environ)
    if process is not None and processes is not None:
        share = checked(process, processes, named="--process and --processes")
    request = Request(until=until, alpha=alpha, seed=seed)
    opened = open_deployment(deployment, generator=generator)
    done = job.bulk(opened, Listing(sources), out, request, share, part=part, resize=resize)
    typer.echo(f"{out}: {done.made} parts made, {done.complete} of {done.parts} there")
