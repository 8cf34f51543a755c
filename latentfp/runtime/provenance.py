"""What measured numbers belong to: the version of the code, and the command that was given."""

import hashlib
import shlex
import sys
from functools import cache
from pathlib import Path

from latentfp import __version__

PACKAGE = Path(__file__).parents[1]


@cache
def code_version() -> str:
    """The package's version and the first 8 digits of the SHA-256 of its Python files, as 0.1.0+3fa9c2d1."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{__version__}+{digest.hexdigest()[:8]}"


def command() -> str:
    """The command line of this process; DIR stands for its workdir."""
    program = "python -m latentfp.main" if Path(sys.argv[0]).name == "main.py" else Path(sys.argv[0]).stem
    words = [shlex.quote(word) for word in sys.argv[1:]]
    for i, word in enumerate(words):
        if word.startswith("--workdir="):
            words[i] = "--workdir=DIR"
        elif i and words[i - 1] == "--workdir":
            words[i] = "DIR"
    return " ".join([program, *words])
