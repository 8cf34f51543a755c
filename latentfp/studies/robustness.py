"""Robustness of attribution: how many bits survive what may happen to an image file.

Every attack of a suite, and unknown noise maps, against what reads a code at once (the generator's encoder
and the decoder, where there are any), a descent from there (refine), and on a few of the same images the
paper's search. No method is told of the attack. Beside bit and all-bits accuracy stands the calibration of
the bits' confidences (calibration.py). A cell is one attack and one method.
"""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from latentfp.augment.suites import suite
from latentfp.choices import Method
from latentfp.fingerprint.codes import CodeBook, draw_codes
from latentfp.pixels import to_float
from latentfp.studies import calibration
from latentfp.studies.calibration import Reliability
from latentfp.studies.context import (
    Accuracy,
    Context,
    accuracy_of,
    answers,
    identity,
    open_context,
    readers,
    search_of,
    wrong_bits,
)
from latentfp.studies.experiment import Experiment, Numbers
from latentfp.studies.watermarked import (
    Rows,
    attack_of,
    marked_images,
    marked_with_fresh_noise,
    through_files,
)

FRESH = ("none", "combination")  # attacks that are also tried on images with unknown noise maps
CLEAN = "none"


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


class Measured(NamedTuple):
    """One method under one attack; `same_images`: on those that the search was tried on, if it was.

    `failed`: images whose estimate is not finite or did not settle; `passes`: evaluations of the generator.
    """

    images: int
    bit_accuracy: float
    all_bits: int
    interval: tuple[float, float]
    failed: int
    passes: float
    seconds_per_image: float
    calibration: calibration.Summary
    same_images: Accuracy | None


class Row(NamedTuple):
    """One attack, with the measurements of every method that reads or descends, and of the paper's search."""

    attack: str
    methods: dict[str, Measured]
    reference: Measured | None


class Search(NamedTuple):
    """The budget of the paper's search, and on how many images it was tried."""

    images: int
    starts: int
    steps: int


class Robustness(NamedTuple):
    """What is found: rows by attack, and the calibration of all attacks together by method."""

    generator: str
    sigma: float
    coding: str
    bits: int
    search: Search
    rows: list[Row]
    pooled: dict[str, calibration.Summary]


def measure(experiment: Experiment, settings: Settings) -> Robustness | None:
    """None while other processes still measure their attacks.

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
    return None if numbers is None else _found(context, settings, cells, numbers)


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
    """Wrong bits of each image, the calibration of all bits, and what it cost (seconds with compilation)."""
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
        "reliability": calibration.reliability(np.asarray(found.estimate.logits), codes)._asdict(),
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
) -> Robustness:
    """The numbers by attack and method, and the calibration of all cells of a method."""
    rows: dict[str, Row] = {}
    for cell, measured in zip(cells, numbers, strict=True):
        row = rows.setdefault(cell.label, Row(cell.label, {}, None))
        found = _measured(context, settings, measured)
        if cell.method == Method.REFERENCE:
            rows[cell.label] = row._replace(reference=found)
        else:
            row.methods[cell.method] = found
    parts: dict[str, list[Reliability]] = {method: [] for method in rows[CLEAN].methods}
    for cell, measured in zip(cells, numbers, strict=True):
        if cell.method in parts:
            parts[cell.method].append(Reliability(**measured["reliability"]))
    manifest = context.opened.manifest
    return Robustness(
        generator=manifest.generator.name,
        sigma=manifest.sigma,
        coding=manifest.coding.value,
        bits=manifest.bits,
        search=Search(settings.reference_images, settings.reference_starts, settings.reference_steps),
        rows=list(rows.values()),
        pooled={method: calibration.summary(calibration.pooled(some)) for method, some in parts.items()},
    )


def _measured(context: Context, settings: Settings, numbers: Numbers) -> Measured:
    wrong, few = numbers["wrong"], numbers["wrong"][: settings.reference_images]
    return Measured(
        *accuracy_of(wrong, bits=context.subject.bits),
        **{name: numbers[name] for name in ("failed", "passes", "seconds_per_image")},
        calibration=calibration.summary(Reliability(**numbers["reliability"])),
        same_images=accuracy_of(few, bits=context.subject.bits) if few else None,
    )
