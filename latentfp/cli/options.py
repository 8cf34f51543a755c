"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from latentfp.choices import CopyFormat, Method, Stage

METHODS = (
    "auto: encoder or decoder, then descents, of which one must name the user, as far as the evidence needs; "
    "encoder: the generator's own; decoder; refine: decoder or encoder and a descent; "
    "multistart: descents from several starts; reference: the paper's search."
)


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
CopyFormatOption = Annotated[
    CopyFormat | None, typer.Option("--format", help="The one that the generator came in, if left out.")
]
CopyOption = Annotated[Path, typer.Option(help="The file, or for `latentfp` the folder, to make.")]
ImagesArgument = Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
MethodOption = Annotated[Method, typer.Option(help=METHODS)]
AlphaOption = Annotated[float, typer.Option(help="Largest p-value, of a file, that names a user.")]
CaseOption = Annotated[
    bool, typer.Option("--case", help="Alpha holds for all files of this call together, not for each.")
]
TogetherOption = Annotated[
    bool, typer.Option("--together", help="All files are of one origin: one verdict, by all of them.")
]
CommittedOption = Annotated[
    bool,
    typer.Option(
        "--codes-committed",
        help="Supplied and seeded codes were committed to before these files existed: judge them too.",
    ),
]
StrictSizeOption = Annotated[
    bool, typer.Option("--strict-size", help="Refuse files of another size; else they are resampled.")
]
ExactOption = Annotated[
    bool, typer.Option("--exact", help="Read every bit, also where a few of them name a user.")
]
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
