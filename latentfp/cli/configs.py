"""Trainings, studies and benches, each described by a configuration."""

from pathlib import Path
from typing import Annotated

import typer

ConfigArgument = Annotated[
    str, typer.Argument(help="Its name, or name:argument, such as robustness:avatars-ldm; or a file's path.")
]
ChangesArgument = Annotated[
    list[str] | None, typer.Argument(help="Fields that differ, such as --config.seed=1.")
]
WorkdirOption = Annotated[
    Path | None, typer.Option(help="The folder of the run, runs/NAME if left out; the same one resumes it.")
]


def train(config: ConfigArgument, changes: ChangesArgument = None, workdir: WorkdirOption = None) -> None:
    """Train a generator or a decoder. --config.train.steps=100, for instance, changes a field.

    Example: latentfp train decoder_stylegan2_avatars --config.objective.deployment=deployment
    """
    _run("", config, changes or [], workdir)


def study(config: ConfigArgument, changes: ChangesArgument = None, workdir: WorkdirOption = None) -> None:
    """Make an experiment on the method. --config.study.images=20, for instance, changes a field.

    Example: latentfp study robustness:avatars --config.study.deployment=deployment
    """
    _run("studies", config, changes or [], workdir)


def bench(config: ConfigArgument, changes: ChangesArgument = None, workdir: WorkdirOption = None) -> None:
    """Measure speed. --config.seed=1, for instance, changes a field.

    Example: latentfp bench throughput:avatars --config.study.deployment=deployment
    """
    _run("bench", config, changes or [], workdir)


def _run(kind: str, config: str, changes: list[str], workdir: Path | None) -> None:
    from latentfp import build

    found = build.find(config, kind=kind)
    path, _, argument = found.partition(":")
    folder = Path("runs") / "-".join(filter(None, [Path(path).stem, argument]))
    run = build.prepare(build.load(found, changes), workdir=workdir or folder)
    build.show_log()
    run()
