"""Robustness of attribution: how many bits survive what may happen to an image file.

Every attack of a suite, and unknown noise maps, against what reads a code at once (the generator's encoder
and the decoder, where there are any), a descent from there (refine), and on a few of the same images the
paper's search. No method is told of the attack. Beside bit and all-bits accuracy stands the calibration of
the bits' confidences (statistics.py). A cell is one attack and one method.
"""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from latentfp.augment.suites import suite
from latentfp.choices import Method
from latentfp.fingerprint.codes import CodeBook, draw_codes
from latentfp.pixels import to_float
from latentfp.studies.context import (
    Context,
    Rows,
    answers,
    attack_of,
    identity,
    marked_images,
    marked_with_fresh_noise,
    open_context,
    readers,
    search_of,
    through_files,
    wrong_bits,
)
from latentfp.studies.experiment import Experiment, Numbers
from latentfp.studies.statistics import Reliability, accuracy_of, calibration, reliability

FRESH = ("none", "combination")  # attacks that are also tried on images with unknown noise maps


class Settings(NamedTuple):
    """How many images every attack has; how many of them descents answer, and how many the search."""

    deployment: str
    suite: str
    images: int
    descents: int
    reference_images: int
    reference_starts: int
    reference_steps: int


class Cell(NamedTuple):
    """One attack and one method; `starts` and `steps` of the paper's search, else 0."""

    attack: str
    fresh: bool
    method: str
    images: int
    starts: int = 0
    steps: int = 0

    @property
    def label(self) -> str:
        """The attack as reports name it."""
        return self.attack + ", fresh noise maps" * self.fresh


def measure(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """What the methods read: `rows` by attack, and the calibration of all attacks together by method.

    ValueError for a deployment without a decoder whose generator has no encoder, and for counts of images
    that do not lie within each other.
    """
    if not 0 <= settings.reference_images <= settings.descents <= settings.images:
        raise ValueError(f"{settings}: expected images of a descent among all, and of the search among those")
    context = open_context(settings.deployment, seed=experiment.seed)
    if not readers(context):
        raise ValueError(f"{settings.deployment} has no decoder: train one and `latentfp adopt` it")
    made = lru_cache(maxsize=2)(partial(_made, context))
    show = lru_cache(maxsize=1)(partial(attacked, made, settings.suite, context.seed))
    cells = cells_of(settings, context)
    numbers = experiment.measured(
        cells,
        lambda cell: estimated(context, cell, show),
        belongs={**identity(context), "suite": settings.suite},
        together=lambda cell: cell.label,
    )
    return _found(context, settings, cells, numbers)


def cells_of(settings: Settings, context: Context) -> list[Cell]:
    """All cells; the slow ones of the search come last."""
    attacks = [(entry.name, False) for entry in suite(settings.suite)]
    if context.subject.generator.renoise is not None:
        attacks += [(name, True) for name in FRESH]
    counts = {**dict.fromkeys(readers(context), settings.images), Method.REFINE: settings.descents}
    quick = [Cell(*attack, method.value, images) for attack in attacks for method, images in counts.items()]
    if settings.reference_images == 0:
        return quick
    budget = (settings.reference_images, settings.reference_starts, settings.reference_steps)
    return quick + [Cell(*attack, Method.REFERENCE.value, *budget) for attack in attacks]


def estimated(context: Context, cell: Cell, show: Callable[[str, bool, int], Rows]) -> Numbers:
    """Wrong bits of each image, the calibration of all bits, and what it cost (seconds with compilation).

    `failed`: images whose estimate is not finite or did not settle; `passes`: evaluations of the generator.
    """
    codes = _codes(context, cell.images)
    shown = to_float(show(cell.attack, cell.fresh, cell.images))
    budget = None
    if cell.method == Method.REFERENCE:
        budget = search_of(context.subject.generator, starts=cell.starts, steps=cell.steps)
    began = time.perf_counter()
    label = f"{cell.label}, {cell.method}"
    found = answers(context, Method(cell.method), shown, label=label, budget=budget)
    return {
        "wrong": wrong_bits(found, codes),
        "reliability": reliability(np.asarray(found.estimate.logits), codes)._asdict(),
        "failed": int((np.asarray(found.estimate.status) != 0).sum()),
        "passes": float(np.mean(found.passes)),
        "seconds_per_image": (time.perf_counter() - began) / cell.images,
    }


def _codes(context: Context, images: int) -> CodeBook:
    return draw_codes(context.seed, images, bits=context.subject.bits, min_distance=1)


def _made(context: Context, fresh: bool, images: int) -> Rows:
    draw = marked_with_fresh_noise if fresh else marked_images
    return draw(context.subject, _codes(context, images), seed=context.seed)


def attacked(
    made: Callable[[bool, int], Rows], suite: str, seed: int, attack: str, fresh: bool, images: int
) -> Rows:
    """The files of images that `made`(fresh noise maps, how many) makes, after an attack."""
    return through_files(made(fresh, images), attack_of(suite, attack), seed=seed)


def _found(
    context: Context, settings: Settings, cells: Sequence[Cell], numbers: Sequence[Numbers]
) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {}
    parts: dict[str, list[Reliability]] = {}
    for cell, measured in zip(cells, numbers, strict=True):
        row = rows.setdefault(cell.label, {"attack": cell.label, "methods": {}, "reference": None})
        found = _measured(context, settings, measured)
        if cell.method == Method.REFERENCE:
            row["reference"] = found
        else:
            row["methods"][cell.method] = found
            parts.setdefault(cell.method, []).append(Reliability(**measured["reliability"]))
    manifest, budget = context.opened.manifest, ("images", "starts", "steps")
    return {
        "generator": manifest.generator.name,
        "sigma": manifest.sigma,
        "coding": manifest.coding.value,
        "bits": manifest.bits,
        "search": {name: getattr(settings, f"reference_{name}") for name in budget},
        "rows": list(rows.values()),
        "pooled": {method: calibration(some) for method, some in parts.items()},
    }


def _measured(context: Context, settings: Settings, numbers: Numbers) -> dict[str, Any]:
    """One method under one attack; `same_images`: on those that the search was tried on, if it was."""
    wrong, few = numbers["wrong"], numbers["wrong"][: settings.reference_images]
    return {
        **accuracy_of(wrong, bits=context.subject.bits)._asdict(),
        **{name: numbers[name] for name in ("failed", "passes", "seconds_per_image")},
        "calibration": calibration([Reliability(**numbers["reliability"])]),
        "same_images": accuracy_of(few, bits=context.subject.bits) if few else None,
    }
