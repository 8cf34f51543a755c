"""Which of several processes this one is, from what the programs that start them leave in the environment.

Studies and attribution divide their work by this number and never speak to one another. A training is one
computation of all: there the processes `join`, and their devices become those of one mesh.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

Piece = TypeVar("Piece")

# Number and count, as launch/local.sh, a step of SLURM (not its batch script, which is no task), an indexed
# Kubernetes job (whose count the job's own description must add) and Open MPI name them.
VARIABLES = (
    ("LATENTFP_PROCESS", "LATENTFP_PROCESSES"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
)
BOTH = ("LATENTFP_PROCESS", "JOB_COMPLETION_INDEX")  # say nothing without the count
HOSTS, HOST = "TPU_WORKER_HOSTNAMES", "TPU_WORKER_ID"  # of a slice of TPUs: names with commas, a number
COORDINATOR = "JAX_COORDINATOR_ADDRESS"
LOST_SECONDS = 30  # without a sign of life from a process after which the others end


class Share(NamedTuple):
    """Process `index` of `count`."""

    index: int = 0
    count: int = 1

    def of(self, work: Sequence[Piece]) -> Sequence[Piece]:
        """This process's pieces of work: every `count`-th, from number `index` on."""
        return work[self.index :: self.count]


ALONE = Share()


def share_of(environment: Mapping[str, str]) -> Share:
    """This process among its kind; the only one where nothing says otherwise.

    ValueError where the first pair of variables that is there is not a number below a count, and where one
    of a pair that has no other use is there alone: so many processes would each do all of the work.
    """
    for index, count in VARIABLES:
        there = [name for name in (index, count) if name in environment]
        if len(there) == 1 and index in BOTH:
            raise ValueError(f"of {index} and {count} only {there[0]} is set: set both, or neither")
        if len(there) == 2:
            return checked(environment[index], environment[count], named=f"{index} and {count}")
    if HOST in environment and HOSTS in environment:
        count = len(environment[HOSTS].split(","))
        return checked(environment[HOST], count, named=f"{HOST} and the number of {HOSTS}")
    return ALONE


def join(environment: Mapping[str, str]) -> Share:
    """Make the devices of all processes known to each, where there are several, before any device is used.

    Process 0 listens at $JAX_COORDINATOR_ADDRESS (host:port). Where that is not set, JAX finds the address
    from SLURM, Open MPI, a TPU's or (with the package kubernetes) a Kubernetes job's own variables.
    ValueError where neither says it.
    """
    share = share_of(environment)
    if share.count == 1:
        return share
    import jax

    if jax.distributed.is_initialized():
        return share
    try:
        if COORDINATOR in environment:
            where = (environment[COORDINATOR], share.count, share.index)
            jax.distributed.initialize(*where, heartbeat_timeout_seconds=LOST_SECONDS)
        else:
            jax.distributed.initialize(heartbeat_timeout_seconds=LOST_SECONDS)
    except ValueError as error:
        raise ValueError(
            f"process {share.index} of {share.count} cannot find the others: set {COORDINATOR}=HOST:PORT, "
            f"a free port of the machine of process 0, for all of them ({error})"
        ) from None
    return share


def checked(index: str | int, count: str | int, *, named: str) -> Share:
    """A share, from text or numbers. ValueError, with the name, where it is none."""
    try:
        share = Share(int(index), int(count))
    except ValueError:
        share = Share(0, 0)
    if not 0 <= share.index < share.count:
        raise ValueError(f"{named} are {index} and {count}: expected a number from 0 to below the count")
    return share
