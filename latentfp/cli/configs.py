"""Trainings, studies and benches, each described by a configuration."""

from pathlib import Path
from typing import Annotated

import typer

ConfigArgument = Annotated[
    str, typer.Argument(help="Its name, or name:argument, such as robustness:avatars-ldm; or a file's path.")
]
WorkdirOption = Annotated[
    Path | None, typer.Option(help="The folder of the run, runs/NAME if left out; the same one resumes it.")
]


def train(context: typer.Context, config: ConfigArgument, workdir: WorkdirOption = None) -> None:
    """Train a generator or a decoder. Options such as --config.train.steps=100 change a field.

    Example: latentfp train decoder_stylegan2_avatars --config.objective.deployment=deployment
    """
    _run("", context, config, workdir)


def study(context: typer.Context, config: ConfigArgument, workdir: WorkdirOption = None) -> None:
    """Make an experiment on the method. Options such as --config.study.images=20 change a field.

    Example: latentfp study robustness:avatars --config.study.deployment=deployment
    """
    _run("studies", context, config, workdir)


def bench(context: typer.Context, config: ConfigArgument, workdir: WorkdirOption = None) -> None:
    """Measure speed. Options such as --config.seed=1 change a field.

    Example: latentfp bench throughput:avatars --config.study.deployment=deployment
    """
    _run("bench", context, config, workdir)


def _run(kind: str, context: typer.Context, config: str, workdir: Path | None) -> None:
    from latentfp import build

    found = build.find(config, kind=kind)
    path, _, argument = found.partition(":")
    folder = Path("runs") / "-".join(filter(None, [Path(path).stem, argument]))
    run = build.prepare(build.load(found, context.args), workdir=workdir or folder)
    build.show_log()
    run()
