"""How much memory this process has held."""

import resource
import sys


def peak_memory() -> float:
    """The most memory that this process ever held, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
