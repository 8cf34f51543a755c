"""What was found of which file, entered in the audit log before anyone is told."""

import hashlib
import sys
from collections.abc import Iterable, Iterator
from itertools import islice

from latentfp.deployment.investigate import GROUP, Finding
from latentfp.deployment.registry import Registry


def logged(registry: Registry, action: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The same findings, entered in groups: of every image the file's SHA-256, the verdict and the user.

    Where the deployment cannot be written, that is said on stderr, and nothing is entered.
    """
    rest = iter(findings)
    while some := list(islice(rest, GROUP)):
        subject = {"images": [[_sha256(it.file), it.verdict, it.user] for it in some]}
        try:
            registry.record(action, subject)
        except OSError as error:
            sys.stderr.write(f"note: not in the audit log: {error}\n")
        yield from some


def _sha256(file: str) -> str | None:
    try:
        with open(file, "rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError:
        return None
