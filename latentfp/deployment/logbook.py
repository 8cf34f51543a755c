"""What was found of which file and what was reported, entered in the audit log."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from latentfp.deployment.investigate import GROUP, Finding
from latentfp.deployment.registry import Registry


def logged(registry: Registry, action: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The same findings, entered in groups before anyone is told: SHA-256 of the file, verdict and user."""
    rest = iter(findings)
    while some := list(islice(rest, GROUP)):
        subject = {"images": [[it.sha256, it.verdict, it.user] for it in some]}
        note(registry, action, subject)
        yield from some


def note(registry: Registry, action: str, subject: Mapping[str, Any]) -> None:
    """One entry. Where the deployment cannot be written, that is said on stderr, and nothing is entered."""
    try:
        registry.record(action, subject)
    except OSError as error:
        sys.stderr.write(f"note: not in the audit log: {error}\n")
