"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from latentfp.choices import Stage


def seed_option(text: str) -> Any:
    """A seed, for what the text says; `rng.root` takes 64 bits."""
    return typer.Option(min=0, max=2**64 - 1, help=text)


def _stage(given: str | Stage) -> Stage:
    names = [stage.name.lower() for stage in Stage]
    if isinstance(given, str) and given not in names:
        raise typer.BadParameter(f"{given!r} is not one of {', '.join(names)}")
    return Stage[given.upper()] if isinstance(given, str) else given


DeploymentOption = Annotated[Path, typer.Option("--deployment", help="The folder that `latentfp fit` wrote.")]
WhereOption = Annotated[
    str | None,
    typer.Option(
        "--generator",
        help="Where the deployment's generator lies now, if it has moved, or PACKAGE.MODULE:MAKE.",
    ),
]
GeneratorOption = Annotated[
    str,
    typer.Option(
        help="A generator of the package, a folder with generator.json, or PACKAGE.MODULE:MAKE of your own."
    ),
]
SigmaOption = Annotated[
    float | None,
    typer.Option(help="Strength of the mark, in the latent's units; the generator's usual one if left out."),
]
AlphaOption = Annotated[float, typer.Option(help="Largest p-value that names a user, in (0, 1).")]
StartsSeedOption = Annotated[int, seed_option("Of the starts.")]
UntilOption = Annotated[
    Stage,
    typer.Option(
        parser=_stage,
        metavar="|".join(stage.name.lower() for stage in Stage),
        show_default=Stage.MULTISTART.name.lower(),
        help="The last stage of auto; up to decoder a reading alone names.",
    ),
]
