"""What a method reads of images at every stage, kept in parts, so that a killed study goes on.

The default method judges an image after each stage that it climbs, so a study of verdicts needs the readings
of all of them, not of the last alone.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int8, UInt8

from latentfp.attribution.estimate import Answer
from latentfp.attribution.evidence import soften
from latentfp.attribution.ladder import Decided
from latentfp.choices import Method
from latentfp.deployment.methods import Budget, stages
from latentfp.pixels import to_float
from latentfp.runtime import files
from latentfp.runtime.progress import track
from latentfp.studies.scene import Scene, answers

PART = 100  # images between two writings


class Readings(NamedTuple):
    """Of `n` images at `s` stages; where an image did not climb so far, soft bits of 0, and NaN.

    `contents`: mean square of the content, in its own standard deviations.
    """

    soft: Int8[np.ndarray, "n s k"]
    misfits: Float[np.ndarray, "n s"]
    contents: Float[np.ndarray, "n s"]

    @property
    def last(self) -> Int[np.ndarray, " n"]:
        """The last stage of every image."""
        return np.maximum(0, (~np.isnan(self.misfits)).sum(axis=1) - 1)

    @property
    def final(self) -> Int8[np.ndarray, "n k"]:
        """The soft bits of every image's last stage."""
        return self.soft[np.arange(len(self.soft)), self.last]


def unclimbed(n: int, bits: int) -> Readings:
    """Of `n` images at one stage that none of them has climbed to."""
    unknown = np.full((n, 1), np.nan, np.float32)
    return Readings(np.zeros((n, 1, bits), np.int8), unknown, unknown.copy())


def read(
    scene: Scene,
    method: Method,
    images: UInt8[np.ndarray, "n h w 3"],
    *,
    label: str,
    decided: Decided,
    first: int = 0,
) -> Readings:
    """The readings of images number `first`, `first` + 1, … `decided`: which answers of auto suffice."""
    budget, repeats, n = Budget(), scene.opened.manifest.repeats, len(images)
    climbed: list[Readings] = []
    rows = np.arange(n)

    def keep(answer: Answer, rows: Int[np.ndarray, " some"]) -> None:
        soft = soften(np.asarray(answer.estimate.logits), repeats=repeats)
        content = np.asarray(answer.estimate.content / scene.subject.space.content_stds[None])
        part = unclimbed(n, soft.shape[1])
        part.soft[rows, 0], part.misfits[rows, 0] = soft, np.asarray(answer.estimate.loss)
        part.contents[rows, 0] = np.square(content).mean(axis=1)
        climbed.append(part)

    def watch(answer: Answer) -> Bool[np.ndarray, " some"]:
        nonlocal rows
        keep(answer, rows)
        enough = decided(answer)
        rows = rows[~enough]
        return enough

    found = answers(scene, method, to_float(images), label=label, budget=budget, first=first, decided=watch)
    if method is not Method.AUTO:
        keep(found, rows)
        return climbed[0]
    above = len(stages(method, scene.subject, scene.decoder, budget)) - len(climbed)
    climbed += [unclimbed(n, climbed[0].soft.shape[2])] * above
    return Readings(*(np.concatenate(arrays, axis=1) for arrays in zip(*climbed, strict=True)))


def claim(folder: Path, setting: Mapping[str, Any]) -> None:
    """Make `folder` that of readings of a setting. ValueError where it holds those of another."""
    path = folder / "setting.json"
    if not files.claim(path, json.dumps(setting, indent=1, sort_keys=True)):
        raise ValueError(f"{folder} holds readings of another setting, see {path}: choose another workdir")


def kept(folder: Path, name: str, n: int, make: Callable[[int, int], Readings]) -> Readings:
    """`n` readings from the files of `folder`; `make`(number of the first, how many) makes missing parts."""
    parts = []
    for first, count in track(_parts(n), name):
        path = folder / f"{name}-{first}.npz"
        if not _holds(path, count):
            with files.replacing(path) as fresh:
                np.savez(fresh, **make(first, count)._asdict())
        parts.append(Readings(*(array[:count] for array in _load(path))))
    return join(parts)


def there(folder: Path, name: str, n: int) -> bool:
    """Whether `kept` would find all of them."""
    return all(_holds(folder / f"{name}-{first}.npz", count) for first, count in _parts(n))


def _parts(n: int) -> list[tuple[int, int]]:
    return [(first, min(PART, n - first)) for first in range(0, n, PART)]


def _holds(path: Path, count: int) -> bool:
    return path.exists() and len(_load(path).soft) >= count


def join(parts: Iterable[Readings]) -> Readings:
    """One after the other."""
    return Readings(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _load(path: Path) -> Readings:
    with np.load(path) as arrays:
        return Readings(**arrays)
