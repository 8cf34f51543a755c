"""Keys for the reports of cases, and checking of reports."""

from pathlib import Path
from typing import Annotated

import typer


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


def verify(
    record: Annotated[Path, typer.Argument(help="The .json beside a case's page.")],
    public: Annotated[
        Path | None,
        typer.Option("--public-key", help="Of who should have signed; anyone if left out."),
    ] = None,
) -> None:
    """Check that a case's record and page are what was signed, and its files those that were attributed.

    Exits with 0 when they are, with 1 when record, page or a file has changed or another key signed, with 2
    for wrong usage. Files that are no longer where they were are told, and are no failure.

    Example: latentfp report verify case.json --public-key signing.pem.pub
    """
    from latentfp.deployment import signature
    from latentfp.report import case

    known = None if public is None else signature.read_public(public)
    try:
        found = case.check_case(record, public=known)
    except signature.BadSignature as error:
        typer.echo(f"FAILED: {error}", err=True)
        raise typer.Exit(1) from None
    stated = "the key given" if known else "a key that it states itself, compare it with the provider's"
    typer.echo(f"{record}: intact, with its page; signed by {found.public_key}, {stated}")
    compared = found.files - len(found.missing)
    typer.echo(f"{compared} of {found.files} files compared, {len(found.changed)} of them changed")
    for path in found.missing:
        typer.echo(f"not there to be compared: {path!a}")
    for path in found.changed:
        typer.echo(f"FAILED: {path!a} is not the file that was attributed", err=True)
    raise typer.Exit(1 if found.changed else 0)
