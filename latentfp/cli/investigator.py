"""What an investigator does: attribute image files, and answer for what was found."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentfp.choices import MEANINGS, Distance, Method, Stage
from latentfp.cli.options import (
    AlphaOption,
    CaseOption,
    CommittedOption,
    DeploymentOption,
    ExactOption,
    ImagesArgument,
    JsonOption,
    MethodOption,
    StartsSeedOption,
    StrictSizeOption,
    TogetherOption,
    UntilOption,
    WhereOption,
)
from latentfp.runtime.files import printable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from latentfp.deployment.attribute import Finding, Request
    from latentfp.deployment.deployment import Deployment
    from latentfp.deployment.origin import Joint

report = typer.Typer(
    no_args_is_help=True, help="Signed reports of cases, made by `latentfp attribute --report`."
)


def attribute(
    images: ImagesArgument,
    deployment: DeploymentOption,
    as_json: JsonOption = False,
    method: MethodOption = Method.AUTO,
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
    alpha: AlphaOption = 1e-6,
    case: CaseOption = False,
    together: TogetherOption = False,
    committed: CommittedOption = False,
    strict_size: StrictSizeOption = False,
    exact: ExactOption = False,
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
    1 - (1 - P)^N, where auto counts P once for every stage. Alpha is a file's: of a thousand innocent files
    at 1e-6 one is named with a chance of up to 0.001; with --case alpha is that chance. Exits with 0 when
    every file was read, 1 when some was not, 2 for wrong usage.

    Damage: degrees (counter-clockwise), scale, down, right (of the window, in sides), blur (pixels),
    brightness, contrast, noise (of the range [-1, 1]), quality (JPEG).

    --together adds up what all files say of one code; those that show one image count once, those that
    contradict the others not at all. It exits with 1 where nobody is named.

    Example: latentfp attribute --deployment deployment --json images/*.png
    Example: latentfp attribute --deployment deployment --together posts/*.jpg
    Example: latentfp attribute --deployment deployment --report case.html --key signing.pem image.png
    """
    from latentfp.deployment import attribute as attribution
    from latentfp.deployment.deployment import open_deployment

    search = {"until": until, "starts": starts, "steps": steps, "distance": distance, "vgg": vgg}
    known = strengths(damage) if damage else None
    taken = {"alpha": alpha, "case": case, "committed": committed, "strict_size": strict_size, "exact": exact}
    request = attribution.Request(method, damage=known, decoder=decoder, seed=seed, **search, **taken)
    opened = open_deployment(deployment, generator=generator)
    if together:
        if report is not None:
            raise ValueError("--report is of files that are judged one by one: leave it or --together out")
        raise typer.Exit(0 if _together(opened, images, request, as_json=as_json) else 1)
    key = None if report is None and signer is None else signing_key(report, signer)
    complete, kept = True, []
    for finding in attribution.attribute(opened, images, request):
        complete &= finding.verdict != "unreadable"
        typer.echo(json.dumps(finding.to_json(), allow_nan=False) if as_json else describe(finding))
        kept += [finding] if key else []
    if report and key:
        from latentfp.report.case import write_case

        write_case(report, opened, kept, request, key)
        typer.echo(f"report: {report}", err=True)
    raise typer.Exit(0 if complete else 1)


def _together(opened: "Deployment", images: list[Path], request: "Request", *, as_json: bool) -> bool:
    """Print the verdict on files of one origin, and return whether it names somebody."""
    from latentfp.deployment.origin import attribute_together

    joint = attribute_together(opened, images, request)
    typer.echo(json.dumps(joint.to_json(), allow_nan=False) if as_json else describe_joint(joint))
    return joint.user is not None


def signing_key(page: Path | None, signer: Path | None) -> "Ed25519PrivateKey":
    """The key of a report, once all that its writing needs has been found. ValueError if not."""
    from latentfp.deployment import signature
    from latentfp.report.case import record_of

    if page is None or signer is None:
        raise ValueError(
            "--report PAGE and --key FILE need each other; `latentfp report key FILE` makes a key"
        )
    private = signature.read_private(signer)
    for path in (page, record_of(page)):
        if path.exists():
            raise ValueError(f"{path} exists and a report overwrites nothing: choose another name")
    page.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(page.parent, os.W_OK):
        raise ValueError(f"{page.parent} cannot be written: choose another folder for the report")
    return private


def strengths(given: list[str]) -> dict[str, float]:
    """NAME=STRENGTH, … as a dictionary. ValueError where it is not so, or a name comes twice."""
    pairs = [text.partition("=") for text in given]
    try:
        found = {name: float(value) for name, _, value in pairs}
    except ValueError:
        raise ValueError(f"--damage {' '.join(given)}: expected NAME=STRENGTH, such as quality=50") from None
    if len(found) < len(pairs):
        raise ValueError(f"--damage {' '.join(given)}: a name is given twice, expected one strength each")
    return found


def describe(finding: "Finding") -> str:
    """A finding in words, on one line whatever the file is called."""
    if finding.verdict == "unreadable":
        return finding.status
    p = f"p = {finding.p_value:.2g}" if finding.p_value is not None else f"no p: code {finding.code_origin}"
    evidence = f"{finding.matched_bits} of {finding.bits} bits, {p}"
    said = finding.user or f"{finding.verdict}, {MEANINGS[finding.verdict]}"
    case = "" if finding.case_p_value is None else f", of the case {finding.case_p_value:.2g}"
    shown = printable(finding.file)
    member = "" if finding.membership is None else f", membership p = {finding.membership:.2g}"
    support = "" if finding.support is None else f", {finding.support}"
    turned = "" if finding.orientation is None else f", {finding.orientation}"
    turned += f", without {finding.left_out:.0%} of the image" if finding.left_out else ""
    return f"{shown}: {said} ({evidence}{support}{case}, by {finding.stage}{member}{turned})"


def describe_joint(joint: "Joint") -> str:
    """A joint verdict in words, after a line for every file that does not count."""
    left_out = [f"{printable(it.file)}: left out, {printable(it.why)}" for it in joint.parts if not it.counts]
    count = len(joint.parts) - len(left_out)
    p = f"p = {joint.p_value:.2g}" if joint.p_value is not None else f"no p: code {joint.code_origin}"
    said = joint.user or f"{joint.verdict}, {MEANINGS[joint.verdict]}"
    support = "" if joint.support is None else f", {joint.support}"
    evidence = f"{joint.matched_bits} of {joint.bits} bits, {p}{support}"
    last = f"{count} of {len(joint.parts)} files together: {said} ({evidence})"
    return "\n".join([*left_out, last])


def verify(
    images: ImagesArgument,
    deployment: DeploymentOption,
    user: Annotated[str, typer.Option(help="Whose copy is said to have made them.")],
    as_json: JsonOption = False,
    method: MethodOption = Method.AUTO,
    alpha: Annotated[float, typer.Option(help="Largest p-value that proves.")] = 1e-6,
    considered: Annotated[
        int | None,
        typer.Option(min=1, help="Among how many users this one was chosen; all registered if left out."),
    ] = None,
    beforehand: Annotated[
        bool,
        typer.Option(
            "--user-was-known-beforehand", help="Nobody chose the user by looking at the files: 1 considered."
        ),
    ] = False,
    committed: CommittedOption = False,
    strict_size: StrictSizeOption = False,
    seed: StartsSeedOption = 0,
    generator: WhereOption = None,
) -> None:
    """Prove that images are one user's; exits with 0 when all are proved, 1 when any is not.

    p_value: the chance that any of so many random codes as users were considered agrees with the image as
    well as this user's. A user whom `attribute` ranked first was chosen among all. The audit log keeps how
    many were said to be considered.

    Example: latentfp verify --deployment deployment --user alice images/*.png
    """
    from latentfp.deployment import attribute as attribution
    from latentfp.deployment.deployment import open_deployment

    opened = open_deployment(deployment, generator=generator)
    if beforehand and considered is not None:
        raise ValueError("--considered and --user-was-known-beforehand exclude each other: leave one out")
    considered = 1 if beforehand else considered
    request = attribution.Request(
        method=method,
        alpha=alpha,
        seed=seed,
        considered=considered,
        committed=committed,
        strict_size=strict_size,
    )
    proved = True
    for finding in attribution.attribute(opened, images, request, user=user):
        proved &= finding.user == user
        typer.echo(json.dumps(finding.to_json(), allow_nan=False) if as_json else describe(finding))
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
    from latentfp.deployment.deployment import open_deployment
    from latentfp.deployment.origin import trace as trace_files

    opened = open_deployment(deployment, generator=generator)
    found = trace_files(opened, images, alpha=alpha, seed=seed)
    names = [f"{one.user} (p = {one.p_value:.2g})" for one in found.accused]
    said = ", ".join(names) or f"nobody (smallest p = {found.smallest:.2g})"
    text = f"{found.read} of {found.files} files, {found.users} users: {said}"
    typer.echo(json.dumps(found.to_json(), allow_nan=False) if as_json else text)
    raise typer.Exit(0 if found.accused else 1)


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
    alpha: AlphaOption = 1e-6,
    until: UntilOption = Stage.MULTISTART,
    strict_size: StrictSizeOption = False,
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
    request = Request(until=until, alpha=alpha, seed=seed, strict_size=strict_size)
    opened = open_deployment(deployment, generator=generator)
    done = job.bulk(opened, Listing(sources), out, request, share, part=part)
    typer.echo(f"{out}: {done.made} parts made, {done.complete} of {done.parts} there")


@report.command()
def key(
    path: Annotated[
        Path, typer.Argument(help="The private key's file, to be made; PATH.pub is the public one.")
    ],
) -> None:
    """Make a key with which reports are signed. Give the public one to whoever shall check them.

    Example: latentfp report key signing.pem
    """
    from latentfp.deployment import signature

    public = signature.create(path)
    typer.echo(f"{path}: private, keep it; {public}: {signature.read_public(public)}")


@report.command("check")
def check_report(
    record: Annotated[Path, typer.Argument(help="The .json beside a case's page.")],
    files: Annotated[list[Path] | None, typer.Argument(help="The files of the case.")] = None,
    public: Annotated[
        Path | None,
        typer.Option("--public-key", help="Of who should have signed; anyone if left out."),
    ] = None,
) -> None:
    """Compute a case's record again, and compare record, page and files with what was signed.

    Needs neither the deployment nor its generator. Exits with 0 where everything is as stated, with 1 where
    anything differs or is missing, or another key signed, with 2 for wrong usage.

    Example: latentfp report check case.json --public-key signing.pem.pub images/*.png
    """
    from latentfp.deployment import signature
    from latentfp.report import check

    found = check.check(record, files or [], public=None if public is None else signature.read_public(public))
    for fault in found.faults:
        typer.echo(f"FAILED: {printable(fault)}", err=True)
    if found.faults:
        raise typer.Exit(1)
    stated = "the key given" if public else "a key that it states itself, compare it with the provider's"
    typer.echo(f"{record}: {found.files} findings computed again, all as stated, with page and files")
    typer.echo(f"signed by {found.public_key}, {stated}")
