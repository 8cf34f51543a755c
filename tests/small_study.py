"""One run of an experiment as the tests make it."""

from typing import Any

from latentfp.runtime.processes import ALONE
from latentfp.studies import experiment
from latentfp.studies.experiment import Stream


def run(module, settings, workdir, *, seed, share=ALONE, stream=Stream.TUNE, name="tiny") -> Any:
    """The record of a study, whose module holds `measure`, or None while other processes measure."""
    given = {"name": name, "title": "Tiny study", "seed": seed, "share": share, "stream": stream}
    return experiment.run(module.measure, settings, workdir=workdir, **given)
