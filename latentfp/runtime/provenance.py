"""What measured numbers belong to: the version of the code, the command, the machine, and its memory."""

import hashlib
import os
import platform
import shlex
import sys
from functools import cache
from pathlib import Path

from latentfp import __version__

PACKAGE = Path(__file__).parents[1]
CPUINFO = Path("/proc/cpuinfo")  # Linux


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


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu() -> str:
    """In words: the number of cores, their architecture and, where the system tells, their model."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    named = f" ({models[0]})" if models else ""
    return f"{cores()} {platform.machine()} CPU cores{named}"


def hardware() -> str:
    """In words: the processor, and the accelerators where JAX has some."""
    import jax

    if jax.default_backend() == "cpu":
        return f"{cpu()}, no accelerator"
    return f"{jax.device_count()} {jax.devices()[0].device_kind}, {cpu()}"


def peak_memory() -> float:
    """The most memory that this process ever held, in MiB."""
    import resource  # which Windows lacks

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
