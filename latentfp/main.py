"""Runs a configuration: python -m latentfp.main --config=configs/NAME.py[:ARGUMENT] --workdir=DIR

Any field can be changed on the command line, for instance --config.train.steps=100. The same command
resumes a run that was interrupted. `latentfp train`, `study` and `bench` do the same.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from latentfp import build


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the configuration of the command line; a wrong one is one line on stderr and exit code 2."""
    parser = argparse.ArgumentParser("python -m latentfp.main", allow_abbrev=False)
    parser.add_argument("--config", required=True, help="a Python file, or file:argument")
    parser.add_argument("--workdir", required=True, type=Path, help="checkpoints, metrics and results")
    given, changes = parser.parse_known_args(arguments)
    try:
        run = build.prepare(build.load(given.config, changes), workdir=given.workdir)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    build.show_log()
    run()


if __name__ == "__main__":
    main()
