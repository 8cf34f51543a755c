"""What an investigator does: attribute image files."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentfp.choices import Distance, Method, Stage
from latentfp.cli.options import DeploymentOption, StartsSeedOption, UntilOption, WhereOption

if TYPE_CHECKING:
    from latentfp.deployment.attribute import Finding, Request
    from latentfp.deployment.deployment import Deployment

METHODS = (
    "auto: encoder or decoder, then descents, of which one must name the user, as far as the evidence needs; "
    "encoder: the generator's own; decoder; refine: decoder or encoder and a descent; "
    "multistart: descents from several starts; reference: the paper's search."
)


def attribute(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    deployment: DeploymentOption,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    method: Annotated[Method, typer.Option(help=METHODS)] = Method.AUTO,
    until: UntilOption = Stage.MULTISTART,
    damage: Annotated[
        list[str] | None,
        typer.Option(help="NAME=STRENGTH of what is known of the file's damage, instead of inferring it."),
    ] = None,
    decoder: Annotated[
        Path | None, typer.Option(help="A decoder's folder, instead of the deployment's own.")
    ] = None,
    starts: Annotated[
        int | None, typer.Option(min=1, help="Starts of the search [multistart 3, reference 20].")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of each start [multistart 36, reference 2000].")
    ] = None,
    distance: Annotated[Distance, typer.Option(help="Of the reference search.")] = Distance.MULTISCALE,
    vgg: Annotated[
        Path | None, typer.Option(help="VGG16 weights for lpips: torchvision .pth or safetensors.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Largest p-value that names a user.")] = 1e-6,
    resize: Annotated[bool, typer.Option(help="Resample files of another size.")] = False,
    seed: StartsSeedOption = 0,
    report: Annotated[
        Path | None, typer.Option(help="Also write a page for people here, and its signed record as .json.")
    ] = None,
    signer: Annotated[
        Path | None, typer.Option("--key", help="The key that signs the report: see `latentfp report key`.")
    ] = None,
    generator: WhereOption = None,
) -> None:
    """Name the user whose copy made each image, or none; inconclusive where too little of a code is left.

    p_value: the chance that any of N random codes agrees with the image's soft bits as well as the best one,
    1 - (1 - P)^N, where auto counts P once for every stage. Exits with 0 when every file was read, 1 when
    some was not, 2 for wrong usage.

    Damage: degrees (counter-clockwise), scale, down, right (of the window, in sides), blur (pixels),
    brightness, contrast, noise (of the range [-1, 1]), quality (JPEG).

    Example: latentfp attribute --deployment deployment --json images/*.png
    Example: latentfp attribute --deployment deployment --report case.html --key signing.pem image.png
    """
    from latentfp.deployment import attribute as attribution
    from latentfp.deployment.deployment import open_deployment

    request = attribution.Request(
        method=method,
        until=until,
        starts=starts,
        steps=steps,
        distance=distance.value,
        vgg=vgg,
        damage=strengths(damage) if damage else None,
        decoder=decoder,
        alpha=alpha,
        seed=seed,
    )
    write = None if report is None and signer is None else reporter(report, signer)
    opened = open_deployment(deployment, generator=generator)
    complete, kept = True, []
    for finding in attribution.attribute(opened, images, request, resize=resize):
        complete &= finding.verdict != "unreadable"
        typer.echo(json.dumps(finding.to_json()) if as_json else describe(finding))
        kept += [finding] if write else []
    if write:
        typer.echo(f"report: {write(opened, kept, request, resize)}", err=True)
    raise typer.Exit(0 if complete else 1)


def verify(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    deployment: DeploymentOption,
    user: Annotated[str, typer.Option(help="Whose copy is said to have made them.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    method: Annotated[Method, typer.Option(help=METHODS)] = Method.AUTO,
    alpha: Annotated[float, typer.Option(help="Largest p-value that proves.")] = 1e-6,
    resize: Annotated[bool, typer.Option(help="Resample files of another size.")] = False,
    seed: StartsSeedOption = 0,
    generator: WhereOption = None,
) -> None:
    """Prove that images are one user's: exit code 0 when all are proved, 1 when any is not.

    p_value: the chance that a random code agrees with the image as well as this user's. Nobody else is
    searched, so there is nothing to correct for but the stages of auto.

    Example: latentfp verify --deployment deployment --user alice images/*.png
    """
    from latentfp.deployment import attribute as attribution
    from latentfp.deployment.deployment import open_deployment

    opened = open_deployment(deployment, generator=generator)
    request = attribution.Request(method=method, alpha=alpha, seed=seed)
    proved = True
    for finding in attribution.attribute(opened, images, request, resize=resize, user=user):
        proved &= finding.user == user
        typer.echo(json.dumps(finding.to_json()) if as_json else describe(finding))
    raise typer.Exit(0 if proved else 1)


def trace(
    images: Annotated[list[Path], typer.Argument(help="Image files of one origin, or folders of them.")],
    deployment: DeploymentOption,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    alpha: Annotated[float, typer.Option(help="Largest chance that any innocent user is accused.")] = 1e-6,
    seed: StartsSeedOption = 0,
    generator: WhereOption = None,
) -> None:
    """Accuse all users who made these files together, by averaging their images or copies.

    The more files of one origin, the more is known of what the colluders' codes have in common; with 64 bits
    two are traced, rarely three. Exits with 0 when somebody is accused, 1 when nobody is.

    Example: latentfp trace --deployment deployment leaked/*.png
    """
    from latentfp.deployment import trace as tracer
    from latentfp.deployment.deployment import open_deployment

    opened = open_deployment(deployment, generator=generator)
    found = tracer.trace(opened, images, alpha=alpha, seed=seed)
    names = [f"{one.user} (p = {one.p_value:.2g})" for one in found.accused]
    said = ", ".join(names) or f"nobody (smallest p = {found.smallest:.2g})"
    text = f"{found.read} of {found.files} files, {found.users} users: {said}"
    typer.echo(json.dumps(found.to_json()) if as_json else text)
    raise typer.Exit(0 if found.accused else 1)


def plan(
    users: Annotated[int, typer.Option(help="How many users there will be.")],
    alpha: Annotated[float, typer.Option(help="Largest rate of accusing anyone falsely, an image.")] = 1e-6,
    bits: Annotated[int | None, typer.Option(help="Length of a code; the usual ones if left out.")] = None,
    power: Annotated[float, typer.Option(help="Share of marked images that must be named.")] = 0.999,
) -> None:
    """Say which code serves so many users, and which rate of wrong bits it forgives.

    Example: latentfp plan --users 1000000 --alpha 1e-6
    """
    from latentfp.deployment import planning

    lengths = planning.LENGTHS if bits is None else (bits,)
    found = planning.plans(users, lengths=lengths, alpha=alpha, power=power)
    if not any(isinstance(it, planning.CodePlan) for it in found):
        raise ValueError("; ".join(map(str, found)))
    for it in found:
        typer.echo(it if isinstance(it, str) else planning.describe(it))


def reporter(page: Path | None, signer: Path | None) -> Callable[..., Path]:
    """What writes the report of a case, once everything that it needs has been found. ValueError if not."""
    from latentfp.deployment import case, signature
    from latentfp.report.case import record_of, write_case

    if page is None or signer is None:
        raise ValueError(
            "--report PAGE and --key FILE need each other; `latentfp report key FILE` makes a key"
        )
    private, record = signature.read_private(signer), record_of(page)
    for path in (page, record):
        if path.exists():
            raise ValueError(f"{path} exists and a report overwrites nothing: choose another name")
    page.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(page.parent, os.W_OK):
        raise ValueError(f"{page.parent} cannot be written: choose another folder for the report")

    def write(opened: "Deployment", findings: "list[Finding]", request: "Request", resize: bool) -> Path:
        made = case.make_case(opened, findings, request, resize=resize)
        write_case(page, made, private)
        digest = hashlib.sha256(record.read_bytes()).hexdigest()
        opened.registry.note("report", {"record": digest})
        return page

    return write


def strengths(given: list[str]) -> dict[str, float]:
    """NAME=STRENGTH, NAME=STRENGTH, … as a dictionary. ValueError where it is not so."""
    pairs = [text.partition("=") for text in given]
    try:
        return {name: float(value) for name, _, value in pairs}
    except ValueError:
        raise ValueError(f"--damage {' '.join(given)}: expected NAME=STRENGTH, such as quality=50") from None


def describe(finding: "Finding") -> str:
    """A finding in words."""
    if finding.verdict == "unreadable":
        return finding.status
    evidence = f"{finding.matched_bits} of {finding.bits} bits, p = {finding.p_value:.2g}"
    member = "" if finding.membership is None else f", membership p = {finding.membership:.2g}"
    return f"{finding.file}: {finding.user or finding.verdict} ({evidence}, by {finding.stage}{member})"
