"""How files of every kind fare in the test whether they are one of the generator's, and what is said of them.

The deployment is attributed with as it is: it must have been calibrated, and have users, who made none of
the files.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from latentfp.data.files import write_image
from latentfp.deployment.attribute import Finding, Request, attribute_all, prepare
from latentfp.deployment.calibration import null_of
from latentfp.studies.context import identity, open_context
from latentfp.studies.experiment import Experiment, Numbers
from latentfp.studies.negatives import draw


class Settings(NamedTuple):
    """`images` of each kind of negatives.py, and the p-values up to which files are counted."""

    deployment: str
    images: Mapping[str, int]
    limits: Sequence[float]


def measure(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """Number of reference images, and the `summary` of every kind.

    The images are PNG files below the experiment's folder. ValueError for a deployment that was not
    calibrated, or has no users.
    """
    context = open_context(settings.deployment, seed=experiment.seed)
    null = null_of(context.opened)
    if null is None:
        raise ValueError(
            f"{settings.deployment} is not calibrated: "
            f"run `latentfp calibrate --deployment {settings.deployment}`"
        )

    def attributed(cell: dict[str, Any]) -> Numbers:
        kind, n = cell["kind"], cell["images"]
        folder = experiment.workdir / kind
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{i}.png" for i in range(n)]
        for path, image in zip(paths, draw(kind, context, n, seed=context.seed), strict=True):
            write_image(path, image)
        prepared = prepare(context.opened, context.loaded, Request(seed=context.seed, committed=True))
        return summary(list(attribute_all(prepared, paths)), settings.limits)

    cells = [{"kind": kind, "images": n} for kind, n in settings.images.items()]
    belongs = {**identity(context), "reference_images": len(null.misfits), "limits": list(settings.limits)}
    numbers = experiment.measured(cells, attributed, belongs=belongs)
    return {
        "reference_images": len(null.misfits),
        "kinds": dict(zip(settings.images, numbers, strict=True)),
    }


def summary(findings: Sequence[Finding], limits: Sequence[float]) -> Numbers:
    """How many files were tested, had a p-value of at most each limit, and got which verdict."""
    tested = [it.membership for it in findings if it.membership is not None]
    below = {f"{limit:g}": sum(p <= limit for p in tested) for limit in limits}
    verdicts = dict(Counter(it.verdict for it in findings))
    return {"files": len(findings), "tested": len(tested), "at_most": below, "verdicts": verdicts}
