"""The users of a deployment, and the log of what was done to them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from latentfp.choices import Status
from latentfp.cli.options import (
    CopyFormatOption,
    CopyOption,
    DeploymentOption,
    JsonOption,
    WhereOption,
    seed_option,
)

users = typer.Typer(no_args_is_help=True, help="The users of a deployment.")
audit = typer.Typer(no_args_is_help=True, help="The log of what was done to the users.")
NoteOption = Annotated[str, typer.Option(help="Added to the user's notes and to the audit log.")]
NameArgument = Annotated[str, typer.Argument(help="Who.")]
SHOWN = 10  # names that are repeated


@users.command("add")
def add(
    deployment: DeploymentOption,
    names: Annotated[list[str] | None, typer.Argument(help="One or more names.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="A .csv or .parquet with the column name, perhaps note and code (hexadecimal)."),
    ] = None,
    note: Annotated[str, typer.Option(help="Kept with the users.")] = "",
    seed: Annotated[int | None, seed_option("Makes codes repeatable, and known to whoever knows it.")] = None,
) -> None:
    """Register users, all or none; each gets a code, to which the audit log commits.

    A code that is supplied, or drawn from a seed, may have been chosen after a file was seen. So its user is
    marked, and files have no p-value for them.

    Example: latentfp users add --deployment deployment alice bob
    """
    from latentfp.deployment.deployment import open_registry
    from latentfp.deployment.tables import Table, read_table
    from latentfp.deployment.usernames import warning

    if (file is None) == (not names):
        raise ValueError("expected names or --file, one of them: latentfp users add --deployment DIR NAME …")
    named = names or []
    table = Table(named, [""] * len(named), None) if file is None else read_table(file)
    if table.codes is not None and seed is not None:
        raise ValueError(f"{file} has codes and a seed makes others: leave one of them out")
    notes = [own or note for own in table.notes]
    added = open_registry(deployment).add(table.names, note=notes, seed=seed, codes=table.codes)
    if table.codes is not None or seed is not None:
        typer.echo(
            "note: codes that are supplied or seeded have no p-value, unless --codes-committed is said",
            err=True,
        )
    for name in table.names:
        if told := warning(name):
            typer.echo(f"note: the username {name!a} {told}", err=True)
    count = "1 user" if len(added) == 1 else f"{len(added)} users"
    typer.echo(f"added {', '.join(table.names) if 0 < len(added) <= SHOWN else count}")


@users.command("list")
def list_(deployment: DeploymentOption, as_json: JsonOption = False) -> None:
    """List the users. Codes are not shown: they would let anyone write a user's mark.

    Example: latentfp users list --deployment deployment
    """
    from latentfp.deployment.deployment import open_registry

    for user in open_registry(deployment).stream():
        fields = {"id": user.id, "name": user.name, "status": user.status, "created": user.created}
        fields["codes"] = user.origin
        row = "\t".join([user.name, user.status, user.created, user.note.replace("\n", "; ")]).rstrip()
        typer.echo(json.dumps(fields | {"note": user.note}, ensure_ascii=False) if as_json else row)


@users.command("revoke")
def revoke(name: NameArgument, deployment: DeploymentOption, note: NoteOption = "") -> None:
    """Take a user's copy out of use; images of it are still attributed.

    Example: latentfp users revoke alice --deployment deployment --note "contract ended"
    """
    from latentfp.deployment.deployment import open_registry

    open_registry(deployment).set_status(name, Status.REVOKED, note=note)
    typer.echo(f"revoked {name}")


@users.command("reinstate")
def reinstate(name: NameArgument, deployment: DeploymentOption, note: NoteOption = "") -> None:
    """Put a revoked user's copy into use again.

    Example: latentfp users reinstate alice --deployment deployment
    """
    from latentfp.deployment.deployment import open_registry

    open_registry(deployment).set_status(name, Status.ACTIVE, note=note)
    typer.echo(f"reinstated {name}")


@users.command("save")
def save(
    deployment: DeploymentOption,
    out: Annotated[Path, typer.Option(help="The .csv or .parquet to make, readable by its owner alone.")],
    with_codes: Annotated[
        bool, typer.Option("--with-codes", help="Also codes: who has them can write any user's mark.")
    ] = False,
) -> None:
    """Write all users to a file that `latentfp users add --file` reads.

    Example: latentfp users save --deployment deployment --out users.csv
    """
    from latentfp.deployment.deployment import open_registry
    from latentfp.deployment.tables import save_table

    columns = ("id", "name", *(("code",) if with_codes else ()), "created", "status", "note", "origin")
    count = save_table(open_registry(deployment), out, columns=columns)
    typer.echo(f"{out}: {count} users")


@users.command("export")
def export(
    user: Annotated[str, typer.Argument(help="Whose copy.")],
    deployment: DeploymentOption,
    out: CopyOption,
    form: CopyFormatOption = None,
    generator: WhereOption = None,
) -> None:
    """Write a user's copy of the generator: whatever it makes bears the user's code.

    Example: latentfp users export alice --deployment deployment --out alice.pt
    """
    from latentfp.deployment.copies import export_copy
    from latentfp.deployment.deployment import open_deployment

    written = export_copy(open_deployment(deployment, generator=generator), user=user, out=out, form=form)
    typer.echo(f"{out}: the copy of {user}, format {written}")


@audit.command("verify")
def audit_verify(
    deployment: DeploymentOption,
    head: Annotated[
        Path | None, typer.Option(help="What `latentfp audit head` wrote: the log must go on from there.")
    ] = None,
    public: Annotated[
        Path | None, typer.Option("--public-key", help="Of who should have signed the head.")
    ] = None,
    stamp: Annotated[
        Path | None, typer.Option("--time-stamp", help="An authority's answer (RFC 3161) for the head.")
    ] = None,
    authority: Annotated[
        Path | None, typer.Option(help="The root certificate (PEM) that vouches for the time stamp.")
    ] = None,
) -> None:
    """Verify the audit log: its chain of hashes, and that it ends where the users do.

    Without a head, a log that was set back to an earlier state is not found. A time stamp proves when the
    head existed at the latest, and with it all that the log held then, commitments to codes among it.

    Example: latentfp audit verify --deployment deployment --head head.json --public-key signing.pem.pub
    """
    from latentfp.deployment import signature, time_stamp
    from latentfp.deployment.deployment import open_registry
    from latentfp.runtime.files import read_json

    if (stamp is None) != (authority is None) or (stamp is not None and head is None):
        raise ValueError("--time-stamp and --authority need each other, and --head: give all three or none")
    if public is not None and head is None:
        raise ValueError("--public-key is of a head's signer: give --head too, or leave it out")
    stated = None if head is None else read_json(head)
    if stated is not None:
        signature.verify(stated, public=None if public is None else signature.read_public(public))
    seal = open_registry(deployment).verify_audit(stated)
    if head is not None and stamp is not None and authority is not None:
        when = time_stamp.verify(head, stamp, authority)
        typer.echo(f"{head}: stamped {when.isoformat(timespec='seconds')}")
    typer.echo(f"{seal.entries} entries, head {seal.head.hex()}" if seal.entries else "0 entries")


@audit.command("head")
def audit_head(
    deployment: DeploymentOption,
    out: Annotated[Path, typer.Option(help="The file to make.")],
    signer: Annotated[Path, typer.Option("--key", help="The key that signs it: see `latentfp report key`.")],
) -> None:
    """Write where the audit log ends now, signed, to be kept elsewhere.

    Whoever time-stamps the file (RFC 3161, for instance `openssl ts`) can prove later that everything which
    the log holds, commitments to codes among it, is older.

    Example: latentfp audit head --deployment deployment --out head.json --key signing.pem
    """
    from latentfp.deployment import signature
    from latentfp.deployment.deployment import open_registry

    if out.exists():
        raise ValueError(f"{out} exists and nothing is overwritten: choose another name")
    head = open_registry(deployment).head()
    out.write_text(json.dumps(signature.sign(head, signature.read_private(signer)), indent=1) + "\n")
    typer.echo(f"{out}: entry {head['entries']}, head {head['head']}")


@audit.command("list")
def audit_list(deployment: DeploymentOption, as_json: JsonOption = False) -> None:
    """List the entries of the audit log as they are stored.

    Example: latentfp audit list --deployment deployment --json
    """
    from latentfp.deployment.deployment import open_registry

    for entry in open_registry(deployment).audit():
        fields = {"number": entry.number, "time": entry.time, "action": entry.action}
        whole = fields | {"subject": json.loads(entry.subject), "hash": entry.hash.hex()}
        row = "\t".join([*map(str, fields.values()), entry.subject])
        typer.echo(json.dumps(whole, ensure_ascii=False) if as_json else row)
