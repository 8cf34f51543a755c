"""What a method reads of images at every stage, kept in parts, so that a killed study goes on.

The default method judges an image after each stage that it runs, so a study of verdicts needs the readings
of all of them, not of the last alone.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int8, UInt8

from latentfp.attribution.confidence import tempers
from latentfp.attribution.estimate import Answer
from latentfp.attribution.evidence import soften
from latentfp.attribution.membership import limits, misfits
from latentfp.choices import Method
from latentfp.pixels import to_float
from latentfp.runtime import files
from latentfp.studies.context import Context, answers, cascade_of
from latentfp.studies.experiment import Experiment, Numbers

PART = 100  # images between two writings


class Readings(NamedTuple):
    """Of `n` images at `s` stages; where an image did not get so far, soft bits of 0, and NaN.

    `contents`: mean square of the content, in its own standard deviations. `misfits`: residuals relative to
    the inferred noise; `limits`: miss p-values below which everyone is cleared (attribution/membership.py);
    `tempers`: by what ratios are divided to mean what they say (attribution/confidence.py).
    """

    soft: Int8[np.ndarray, "n s k"]
    residuals: Float[np.ndarray, "n s"]
    contents: Float[np.ndarray, "n s"]
    misfits: Float[np.ndarray, "n s"]
    limits: Float[np.ndarray, "n s"]
    tempers: Float[np.ndarray, "n s"]

    @property
    def last(self) -> Int[np.ndarray, " n"]:
        """The last stage of every image."""
        return np.maximum(0, (~np.isnan(self.residuals)).sum(axis=1) - 1)

    @property
    def final(self) -> Int8[np.ndarray, "n k"]:
        """The soft bits of every image's last stage."""
        return self.soft[np.arange(len(self.soft)), self.last]

    def at_last(self, values: Float[np.ndarray, "n s"]) -> Float[np.ndarray, " n"]:
        """What `values` are at every image's last stage, in double precision."""
        return values[np.arange(len(values)), self.last].astype(np.float64)


def not_run(n: int, bits: int) -> Readings:
    """Of `n` images at one stage that none of them has reached."""
    unknown = np.full((n, 1), np.nan, np.float32)
    return Readings(np.zeros((n, 1, bits), np.int8), *(unknown.copy() for _ in range(5)))


def read(
    context: Context,
    method: Method,
    images: UInt8[np.ndarray, "n h w 3"],
    *,
    label: str,
    decided: Callable[[Answer], Bool[np.ndarray, " some"]],
    first: int = 0,
) -> Readings:
    """The readings of images number `first`, `first` + 1, … `decided`: which answers of auto suffice."""
    repeats, n = context.opened.manifest.repeats, len(images)
    by_stage: list[Readings] = []

    def keep(answer: Answer, rows: Int[np.ndarray, " some"]) -> Bool[np.ndarray, " some"]:
        soft = soften(answer.estimate.logits, repeats=repeats)
        content = answer.estimate.content / context.subject.content_stds
        part = not_run(n, soft.shape[1])
        part.soft[rows, 0], part.residuals[rows, 0] = soft, answer.estimate.loss
        part.contents[rows, 0] = np.square(content).mean(axis=1)
        part.misfits[rows, 0], part.limits[rows, 0] = misfits(answer), limits(answer)
        part.tempers[rows, 0] = tempers(answer)
        by_stage.append(part)
        return decided(answer)

    answers(context, method, to_float(images), label=label, first=first, decided=keep)
    left = cascade_of(context, method).verdicts - len(by_stage)
    by_stage += [not_run(n, by_stage[0].soft.shape[2])] * left
    return Readings(*(np.concatenate(arrays, axis=1) for arrays in zip(*by_stage, strict=True)))


def measured(
    experiment: Experiment,
    images: Mapping[str, int],
    make: Callable[[str, int, int], Readings],
    *,
    belongs: Mapping[str, Any],
) -> dict[str, Readings]:
    """The readings of so many images of every kind, PART of them in a file.

    `make`(kind, number of the first, how many) makes what is missing.
    """
    folder = experiment.workdir / "readings"
    folder.mkdir(exist_ok=True)
    digest = hashlib.sha256(json.dumps(belongs, sort_keys=True).encode()).hexdigest()[:8]

    def read_part(part: Mapping[str, Any]) -> Numbers:
        name = re.sub(r"[^\w.-]+", "_", "-".join(map(str, [*part.values(), digest])) + ".npz")
        with files.replacing(folder / name) as fresh:
            np.savez(fresh, **make(*part.values())._asdict())
        return {"file": name}

    parts = [
        {"kind": kind, "first": first, "count": min(PART, n - first)}
        for kind, n in images.items()
        for first in range(0, n, PART)
    ]
    found: dict[str, list[Readings]] = {kind: [] for kind in images}
    for part, row in zip(parts, experiment.measured(parts, read_part, belongs=belongs), strict=True):
        with np.load(folder / row["file"]) as arrays:
            found[part["kind"]].append(Readings(**arrays))
    return {kind: join(some) for kind, some in found.items()}


def join(parts: Iterable[Readings]) -> Readings:
    """One after the other."""
    return Readings(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
