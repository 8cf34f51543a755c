"""Options that several commands share, and the values of options."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DeploymentOption = Annotated[Path, typer.Option("--deployment", help="The folder that `latentfp fit` wrote.")]
WhereOption = Annotated[
    str | None,
    typer.Option("--generator", help="Where the deployment's generator lies now, if it has moved."),
]
GeneratorOption = Annotated[
    str, typer.Option(help="A generator of the package, or a folder with generator.json.")
]
SigmaOption = Annotated[
    float | None,
    typer.Option(help="Strength of the mark, in the latent's units; the generator's usual one if left out."),
]


class Coding(StrEnum):
    """How a bit is written: ±1/2 or 0 and 1."""

    ANTIPODAL = "antipodal"
    BINARY = "binary"


class ImageFormat(StrEnum):
    """Of the files that are written."""

    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"


class Format(StrEnum):
    """Of another program's generator."""

    ROSINALITY = "rosinality"
    NVIDIA = "nvidia"
    COMPVIS = "compvis"
    DIFFUSERS = "diffusers"


class CopyFormat(StrEnum):
    """Of a user's copy: a checkpoint of other software, a folder of ours, or what to do to latents."""

    ROSINALITY = "rosinality"
    NVIDIA = "nvidia"
    LATENTFP = "latentfp"
    LATENTS = "latents"


class Until(StrEnum):
    """The last stage that auto climbs to."""

    ENCODER = "encoder"
    DECODER = "decoder"
    REFINE = "refine"
    MULTISTART = "multistart"
    REFERENCE = "reference"


UntilOption = Annotated[
    Until, typer.Option(help="The last stage of auto; up to decoder a reading alone names.")
]
