"""Which process this is, as those who start it say."""

import pytest

from latentfp.runtime.processes import Share, checked, share_of


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, Share(0, 1)),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "4"}, Share(2, 4)),
        ({"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "3"}, Share(0, 3)),
        ({"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "6"}, Share(5, 6)),
        (
            {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "LATENTFP_PROCESS": "1", "LATENTFP_PROCESSES": "2"},
            Share(1, 2),
        ),
        ({"SLURM_PROCID": "2"}, Share(0, 1)),
    ],
)
def test_the_environment_says_it(environment, share):
    assert share_of(environment) == share


@pytest.mark.parametrize(("index", "count"), [("4", "4"), ("-1", "2"), ("one", "2"), (0, 0)])
def test_what_is_no_share_is_refused_by_name(index, count):
    with pytest.raises(ValueError, match="A and B are"):
        checked(index, count, named="A and B")
