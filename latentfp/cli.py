"""The everyday commands. Heavy imports happen inside a command, so that --help answers at once."""

import json
import secrets
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentfp.runtime.environment import prepare

if TYPE_CHECKING:
    from latentfp.deployment.investigate import Finding

app = typer.Typer(
    callback=prepare,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Latent fingerprints: every user's copy of a generator marks its images; a file names the user.",
)
users = typer.Typer(no_args_is_help=True, help="The users of a deployment.")
app.add_typer(users, name="users")

DeploymentOption = Annotated[Path, typer.Option("--deployment", help="The folder that `latentfp fit` wrote.")]
SeedOption = Annotated[
    int | None, typer.Option(help="Makes the result repeatable; drawn and shown if left out.")
]


class Method(StrEnum):
    """How codes are estimated."""

    REFINE = "refine"
    REFERENCE = "reference"


class Distance(StrEnum):
    """What the reference search minimises."""

    MULTISCALE = "multiscale"
    LPIPS = "lpips"


class Coding(StrEnum):
    """How a bit is written: ±1/2 or 0 and 1."""

    ANTIPODAL = "antipodal"
    BINARY = "binary"


class ImageFormat(StrEnum):
    """Of the files that are written."""

    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"


@app.command()
def fit(
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    generator: Annotated[
        str, typer.Option(help="A generator of the package, or a folder with generator.json.")
    ] = "avatars",
    sigma: Annotated[float, typer.Option(help="Strength of the mark, in the latent's units.")] = 2.0,
    shift: Annotated[int, typer.Option(help="First principal axis that carries the code.")] = 448,
    bits: Annotated[int, typer.Option(help="Length of a code.")] = 64,
    coding: Coding = Coding.ANTIPODAL,
    min_distance: Annotated[
        int | None, typer.Option(help="Bits between any two users' codes; a quarter of `bits` if left out.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Latents whose principal axes are computed.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of these samples.")] = 0,
) -> None:
    """Fit a fingerprint space to a generator and start a registry of users.

    Example: latentfp fit --out deployment --sigma 2
    """
    from latentfp.deployment import fitting

    made = fitting.fit(
        out,
        generator=generator,
        sigma=sigma,
        shift=shift,
        bits=bits,
        coding=coding.value,
        min_distance=min_distance,
        samples=samples,
        seed=seed,
    )
    typer.echo(
        f"{made.path}: {bits} bits on axes {shift} to {shift + bits - 1} of {generator}, sigma {sigma:g}. "
        f"Next: latentfp users add --deployment {made.path} NAME"
    )


@users.command("add")
def users_add(
    names: Annotated[list[str], typer.Argument(help="One or more names.")],
    deployment: DeploymentOption,
    note: Annotated[str, typer.Option(help="Kept with the users.")] = "",
    seed: Annotated[
        int | None, typer.Option(help="Makes codes repeatable, and known to whoever knows it.")
    ] = None,
) -> None:
    """Register users, all or none; each gets a code.

    Example: latentfp users add --deployment deployment alice bob
    """
    from latentfp.deployment.deployment import open_deployment

    added = open_deployment(deployment).registry.add(names, seed=seed, note=note)
    typer.echo(f"added {', '.join(user.name for user in added)}")


@users.command("list")
def users_list(deployment: DeploymentOption) -> None:
    """List the users. Codes are not shown: they would let anyone write a user's mark.

    Example: latentfp users list --deployment deployment
    """
    from latentfp.deployment.deployment import open_deployment

    for user in open_deployment(deployment).registry.users():
        typer.echo("\t".join([user.name, user.status.value, user.created, user.note]).rstrip())


@app.command()
def generate(
    deployment: DeploymentOption,
    user: Annotated[str, typer.Option(help="Whose copy makes the images.")],
    count: Annotated[int, typer.Option(min=1, help="How many images.")],
    out: Annotated[Path, typer.Option(help="The folder for the files; made if needed.")],
    seed: SeedOption = None,
    image_format: Annotated[ImageFormat, typer.Option("--format")] = ImageFormat.PNG,
) -> None:
    """Write images that bear a user's code, as USER-SEED-NUMBER.png.

    Example: latentfp generate --deployment deployment --user alice --count 8 --out images
    """
    from latentfp.deployment import copies

    seed = secrets.randbits(31) if seed is None else seed
    written = copies.generate(
        deployment, user=user, count=count, out=out, seed=seed, suffix=image_format.value
    )
    typer.echo(f"{len(written)} images of {user} in {out}, seed {seed}")


@app.command()
def attribute(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    deployment: DeploymentOption,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    method: Annotated[
        Method, typer.Option(help="refine: damped Gauss-Newton; reference: the paper's search.")
    ] = Method.REFINE,
    starts: Annotated[
        int | None, typer.Option(min=1, help="Starts of the search [refine 3, reference 20].")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of each start [refine 36, reference 2000].")
    ] = None,
    distance: Annotated[Distance, typer.Option(help="Of the reference search.")] = Distance.MULTISCALE,
    vgg: Annotated[
        Path | None, typer.Option(help="VGG16 weights for lpips: torchvision .pth or safetensors.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Largest p-value that names a user.")] = 1e-6,
    resize: Annotated[bool, typer.Option(help="Resample files of another size.")] = False,
    seed: Annotated[int, typer.Option(help="Of the starts.")] = 0,
) -> None:
    """Name the user whose copy made each image, or none.

    p_value: the chance that any of the N registered codes matches at least m of k fair bits,
    1 - (1 - P[Bin(k, 1/2) >= m])^N. Exit code: 0 when every file was read, 1 when some was not, 2 for wrong
    usage.

    Example: latentfp attribute --deployment deployment --json images/*.png
    """
    from latentfp.deployment import inquiry

    complete = True
    for finding in inquiry.attribute(
        deployment,
        images,
        method=method.value,
        starts=starts,
        steps=steps,
        distance=distance.value,
        vgg=vgg,
        alpha=alpha,
        resize=resize,
        seed=seed,
    ):
        complete &= finding.verdict != "unreadable"
        typer.echo(json.dumps(finding.to_json()) if as_json else describe(finding))
    raise typer.Exit(0 if complete else 1)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The folder to make.")] = Path("demo"),
    user_count: Annotated[int, typer.Option("--users", min=1, help="How many users.")] = 6,
    image_count: Annotated[int, typer.Option("--images", min=1, help="Images of each user.")] = 3,
    generator: Annotated[
        str, typer.Option(help="A generator of the package, or a folder with generator.json.")
    ] = "avatars",
    sigma: Annotated[float, typer.Option(help="Strength of the mark, in the latent's units.")] = 2.0,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
) -> None:
    """All of it: fit, register, generate, damage, attribute; writes report.html and report.json.

    Example: latentfp demo --out demo --users 6 --images 3
    """
    from latentfp.report.page import write_page
    from latentfp.studies import demo as study
    from latentfp.studies.demo_record import summary

    record = study.run(out, users=user_count, images=image_count, generator=generator, sigma=sigma, seed=seed)
    typer.echo(f"{summary(record)}\npage: {write_page(out)}")


def describe(finding: "Finding") -> str:
    """A finding in words."""
    if finding.verdict == "unreadable":
        return finding.status
    evidence = f"{finding.matched_bits} of {finding.bits} bits, p = {finding.p_value:.2g}"
    return f"{finding.file}: {finding.user or 'none'} ({evidence})"


def run() -> None:
    """The console script: a wrong request or a failing disk is one line and exit code 2."""
    try:
        app()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
