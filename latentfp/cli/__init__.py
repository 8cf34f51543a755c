"""The everyday commands. Heavy imports happen inside a command, so that --help answers at once."""

import sys
from typing import Any, NoReturn

import typer

from latentfp.cli import configs, investigator, provider
from latentfp.cli.investigator import report
from latentfp.cli.users import audit, users
from latentfp.runtime.environment import prepare
from latentfp.runtime.files import printable

app = typer.Typer(
    callback=prepare,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Latent fingerprints: every user's copy of a generator marks its images; a file names the user.",
)
app.add_typer(users, name="users")
app.add_typer(audit, name="audit")
app.add_typer(report, name="report")
app.command("import")(provider.import_)
app.command("export")(provider.export)
for command in (
    *(provider.fit, provider.adopt, provider.calibrate, provider.generate),
    *(investigator.attribute, investigator.verify, investigator.trace, provider.plan),
    *(investigator.bulk, provider.design, provider.demo),
):
    app.command()(command)
for command in (configs.train, configs.study, configs.bench):
    app.command(context_settings={"ignore_unknown_options": True})(command)


# Click's error of usage, which some versions of typer hold within.
UsageError: Any = typer.BadParameter.__base__


def run() -> None:
    """The console script: a wrong request or a failing disk is one line, and exits with 2."""
    try:
        sys.exit(app(standalone_mode=False))
    except UsageError as error:
        asked = "" if error.ctx is None else f"; see {error.ctx.command_path} --help"
        message = error.format_message().rstrip(".")
        stop(message + asked if message else "")  # a group alone has shown its help already
    except (ValueError, OSError) as error:
        stop(str(error))
    except MemoryError as error:
        stop(f"not enough memory ({error})")
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)


def stop(message: str) -> NoReturn:
    """Say what is wrong in one line, and exit with 2."""
    if message:
        print(f"error: {printable(message)}", file=sys.stderr)  # noqa: T201
    sys.exit(2)
