"""Which version of the code this is: measured numbers belong to it."""

import hashlib
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
