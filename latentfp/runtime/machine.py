"""What this process runs on."""

import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")  # Linux


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
