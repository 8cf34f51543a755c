"""A user's copy as a command: image files that bear the user's code."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from latentfp import rng
from latentfp.data.files import write_image
from latentfp.deployment.deployment import Deployment, Opening, load_generator, open_deployment
from latentfp.deployment.issue import issue
from latentfp.deployment.registry import Status, User
from latentfp.runtime.progress import progress

GROUP = 256  # images between two writings


def active(opened: Deployment, user: str) -> User:
    """The user of this name; ValueError for an unknown or revoked one."""
    found = opened.registry.user(user)
    if found.status is Status.REVOKED:
        raise ValueError(f"user {user!r} is revoked: reinstate the user first")
    return found


def log(opened: Deployment, action: str, subject: Mapping[str, Any]) -> None:
    """Log what is about to be made; where the log cannot be written, stderr says that it is not logged."""
    try:
        opened.registry.record(action, subject)
    except OSError as error:
        sys.stderr.write(f"not logged: {action} {subject}: {error}\n")


def generate(deployment: Opening, *, user: str, count: int, out: Path, seed: int, suffix: str) -> list[Path]:
    """Write `count` images; ValueError for an unknown or revoked user, and rather than overwriting a file."""
    opened = open_deployment(deployment)
    code = active(opened, user).code
    paths = [out / f"{user}-{seed}-{number:04d}.{suffix}" for number in range(count)]
    taken = [path for path in paths if path.exists()]
    if taken:
        raise ValueError(f"{taken[0]} exists and nothing is overwritten: choose another seed or folder")
    loaded = load_generator(opened)
    out.mkdir(parents=True, exist_ok=True)
    log(opened, "generate", {"name": user, "count": count, "seed": seed, "suffix": suffix})
    with progress("generating", count) as advance:
        for first in range(0, count, GROUP):
            some = paths[first : first + GROUP]
            issued = issue(
                loaded.generator,
                loaded.params,
                opened.space,
                np.tile(code, (len(some), 1)),
                sigma=opened.manifest.sigma,
                coding=opened.manifest.coding,
                key=rng.stream(rng.root(seed), f"copy/{user}"),
                first=first,
            )
            for path, pixels in zip(some, issued.marked, strict=True):
                write_image(path, pixels)
            advance(len(some))
    return paths
