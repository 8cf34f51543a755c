"""How files of every kind fare in the test whether they are one of the generator's, and what is said of them.

The deployment is attributed with as it is: it must have been calibrated, and have users, who made none of
the files.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from latentfp.data.files import write_image
from latentfp.deployment.attribute import Finding, Request, attribute_all, prepare
from latentfp.deployment.calibration import null_of
from latentfp.deployment.deployment import load_generator
from latentfp.studies.context import identity, open_context
from latentfp.studies.experiment import Experiment, Numbers
from latentfp.studies.negatives import draw


class Settings(NamedTuple):
    """`images` of each kind of negatives.py, and the p-values up to which files are counted."""

    deployment: str
    images: Mapping[str, int]
    limits: Sequence[float]


class Cell(NamedTuple):
    """So many images of a kind."""

    kind: str
    images: int


class Membership(NamedTuple):
    """What is found."""

    reference_images: int
    kinds: dict[str, Numbers]


def measure(experiment: Experiment, settings: Settings) -> Membership | None:
    """The images are PNG files below the experiment's folder. None while other processes still measure.

    ValueError for a deployment that was not calibrated, or has no users.
    """
    context = open_context(settings.deployment, seed=experiment.seed)
    null, loaded = null_of(context.opened), load_generator(context.opened)
    if null is None:
        raise ValueError(
            f"{settings.deployment} is not calibrated: "
            f"run `latentfp calibrate --deployment {settings.deployment}`"
        )

    def attributed(cell: Cell) -> Numbers:
        folder = experiment.workdir / cell.kind
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{i}.png" for i in range(cell.images)]
        for path, image in zip(paths, draw(cell.kind, context, cell.images, seed=context.seed), strict=True):
            write_image(path, image)
        prepared = prepare(context.opened, loaded, Request(seed=context.seed))
        found = list(attribute_all(prepared, paths))
        return summary(found, settings.limits)

    cells = [Cell(*cell) for cell in settings.images.items()]
    belongs = {**identity(context), "reference_images": len(null.residuals), "limits": list(settings.limits)}
    numbers = experiment.measured(cells, attributed, belongs=belongs)
    if numbers is None:
        return None
    return Membership(len(null.residuals), dict(zip(settings.images, numbers, strict=True)))


def summary(findings: Sequence[Finding], limits: Sequence[float]) -> Numbers:
    """How many files were tested, had a p-value of at most each limit, and got which verdict."""
    tested = [it.membership for it in findings if it.membership is not None]
    below = {f"{limit:g}": sum(p <= limit for p in tested) for limit in limits}
    verdicts = dict(Counter(it.verdict for it in findings))
    return {"files": len(findings), "tested": len(tested), "at_most": below, "verdicts": verdicts}
