"""Runs a configuration: python -m latentfp.main --config=configs/NAME.py[:ARGUMENT] --workdir=DIR

Any field can be changed on the command line, for instance --config.train.steps=100. The same command
resumes a run that was interrupted.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from latentfp import build

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The configuration: a Python file, or file:argument."
)
WORKDIR = flags.DEFINE_string("workdir", None, "The folder of the run: checkpoints, metrics and results.")
flags.mark_flags_as_required([CONFIG, WORKDIR])


def main(arguments: Sequence[str]) -> None:
    """Run the configuration of the command line."""
    try:
        if len(arguments) > 1:
            raise ValueError(f"not understood: {' '.join(arguments[1:])}")
        run = build.prepare(CONFIG.value.to_dict(), workdir=Path(str(WORKDIR.value)))
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    run()


if __name__ == "__main__":
    app.run(main)
