"""The everyday commands. Heavy imports happen inside a command, so that --help answers at once."""

import sys

import typer

from latentfp.cli import investigator, provider
from latentfp.runtime.environment import prepare

app = typer.Typer(
    callback=prepare,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Latent fingerprints: every user's copy of a generator marks its images; a file names the user.",
)
users = typer.Typer(no_args_is_help=True, help="The users of a deployment.")
app.add_typer(users, name="users")
users.command("add")(provider.users_add)
users.command("list")(provider.users_list)
users.command("export")(provider.users_export)
app.command("import")(provider.import_)
for command in (provider.fit, provider.adopt, provider.generate, investigator.attribute, provider.demo):
    app.command()(command)


def run() -> None:
    """The console script: a wrong request or a failing disk is one line and exit code 2."""
    try:
        app()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
