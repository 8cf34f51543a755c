"""Which of several processes this one is, from what the programs that start them leave in the environment."""

from collections.abc import Mapping
from typing import NamedTuple

# Number and count, as launch/local.sh, SLURM, an indexed Kubernetes job and Open MPI name them.
VARIABLES = (
    ("LATENTFP_PROCESS", "LATENTFP_PROCESSES"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
)


class Share(NamedTuple):
    """Process `index` of `count`: it takes every count-th piece of work, from number `index` on."""

    index: int = 0
    count: int = 1


def share_of(environment: Mapping[str, str]) -> Share:
    """This process among its kind; the only one where nothing says otherwise.

    ValueError where the first pair of variables that is there is not a number below a count.
    """
    for index, count in VARIABLES:
        if index in environment and count in environment:
            return checked(environment[index], environment[count], named=f"{index} and {count}")
    return Share()


def checked(index: str | int, count: str | int, *, named: str) -> Share:
    """A share, from text or numbers. ValueError, with the name, where it is none."""
    try:
        share = Share(int(index), int(count))
    except ValueError:
        share = Share(0, 0)
    if not 0 <= share.index < share.count:
        raise ValueError(f"{named} are {index} and {count}: expected a number from 0 to below the count")
    return share
