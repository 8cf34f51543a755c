"""Processes that work on a registry while they are killed, while the disk is full or closed.

Run as a script: the name of one of the functions below and its arguments. The process that has imported
everything forks those that are killed, which makes a kill cheap. What a process acknowledges, it writes to a
file of its own with one call, after the registry returned.
"""

import json
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np

from latentfp.choices import CopyFormat, Status
from latentfp.deployment.copies import export_copy
from latentfp.deployment.registry import Registry

BATCH = 25


def registry_of(path):
    """A registry with random codes of 64 bits and a keyed log."""

    def assign(seed, _first, n, _before):
        return np.random.default_rng(seed).integers(256, size=(n, 8), dtype=np.uint8)

    return Registry(path, "ab" * 16, 64, assign, lambda: b"k" * 32)


def answer(result):
    """Tell the test."""
    sys.stdout.write(json.dumps(result))


def forked(work, number, folder):
    """The id of a new process that does `work(number, say)`."""
    child = os.fork()
    if child:
        return child
    file = os.open(folder / f"said-{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        work(number, lambda line: os.write(file, f"{line}\n".encode()))
    except (ValueError, OSError) as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(1)


def killing(work, folder, *, kills, processes, longest):
    """Keep `processes` at work and kill one of them after random times of up to `longest` seconds."""
    running = [forked(work, number, folder) for number in range(processes)]
    while not any(path.stat().st_size for path in folder.glob("said-*")):
        time.sleep(0.05)  # a busy machine needs long for the first
    chance, killed = random.Random(7), 0
    for number in range(processes, processes + kills):
        time.sleep(chance.uniform(0, longest))
        at = chance.randrange(processes)
        os.kill(running[at], signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(running[at], 0)[1])
        running[at] = forked(work, number, folder)
    for child in running:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    answer({"killed": killed})


def adding(folder, kills, processes):
    """Add and revoke users and log exports, killed at random."""

    def work(number, say):
        registry = registry_of(folder / "users.sqlite")
        for i in range(10**6):
            names = [f"{number}.{i}.{j}" for j in range(BATCH)]
            registry.add(names)
            say(f"add {names[0]}")
            registry.set_status(names[1], Status.REVOKED, note="")
            say(f"revoke {names[1]}")
            say(f"export {registry.record('export', {'name': names[2]}).number} {names[2]}")

    killing(work, folder, kills=int(kills), processes=int(processes), longest=0.1)


def exporting(deployment, folder, kills, processes):
    """Export copies of alice, killed at random."""

    def work(number, say):
        for i in range(10**6):
            out = folder / f"copy-{number}-{i}"
            export_copy(deployment, user="alice", out=out, form=CopyFormat.LATENTS)
            say(out.name)

    killing(work, folder, kills=int(kills), processes=int(processes), longest=0.8)


def filling(folder, limit):
    """Add users until the disk, or a limit of bytes a file (0: none), is full; make room; add one more."""
    registry, ballast = registry_of(folder / "users.sqlite"), folder / "ballast"
    registry.create()
    ballast.write_bytes(bytes(2**19))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), limits[1]))
    added, fault = [], ""
    while not fault:
        names = [f"user {len(added) + j}" for j in range(500)]
        try:
            registry.add(names)
            added += names
        except OSError as error:
            fault = str(error)
    found = [user.name for user in registry.users()]
    registry.verify()
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    ballast.unlink()
    registry.add(["last"])
    registry.verify()
    result = {"added": len(added), "kept": found == added, "fault": fault, "after": registry.count()}
    answer(result)


def making(folder):
    """A registry of two users."""
    registry = registry_of(folder / "users.sqlite")
    registry.create()
    registry.add(["alice", "bob"])


def reading(folder):
    """Read a registry that cannot be written, and try to write it."""
    registry, faults = registry_of(folder / "users.sqlite"), []
    for write in (lambda: registry.add(["carol"]), lambda: registry.record("export", {})):
        try:
            write()
        except OSError as error:
            faults.append(str(error))
    registry.verify()
    names = [user.name for user in registry.users()]
    answer({"names": names, "faults": faults, "entries": registry.verify_audit().entries})


if __name__ == "__main__":
    parts = {part.__name__: part for part in (adding, exporting, filling, making, reading)}
    parts[sys.argv[1]](*(Path(word) if "/" in word else word for word in sys.argv[2:]))
