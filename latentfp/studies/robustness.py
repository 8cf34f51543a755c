"""Robustness of attribution: how many bits survive what may happen to an image file.

Every attack of a suite, and unknown noise maps, against what reads a code at once (the generator's encoder
and the decoder, where there are any), a descent from there (refine), and on a few of the same images the
paper's search. No method is told of the attack. Beside bit and all-bits accuracy stands the calibration of
the bits' confidences (calibration.py).

A cell is one attack and one method. Measured cells lie in `cells*.jsonl` and are not run again. Several
processes may share the work: each measures every n-th cell, and the one that ends last joins what they found.
"""

import json
import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from latentfp.augment.suites import suite
from latentfp.choices import Method
from latentfp.deployment.methods import Budget
from latentfp.fingerprint.codes import CodeBook, draw_codes
from latentfp.pixels import to_float
from latentfp.runtime.processes import ALONE, Share
from latentfp.studies import calibration
from latentfp.studies.budgets import search_of
from latentfp.studies.calibration import Reliability
from latentfp.studies.journal import Journal, Numbers
from latentfp.studies.marked import (
    Rows,
    attack_of,
    marked_images,
    marked_with_fresh_noise,
    through_files,
)
from latentfp.studies.scene import (
    Scene,
    accuracy_of,
    answers,
    identity,
    open_scene,
    readers,
    wrong_bits,
)

FRESH = ("none", "combination")  # attacks that are also tried on images with unknown noise maps
CLEAN = "none"
FRESHLY = ", fresh noise maps"


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
        return self.attack + FRESHLY * self.fresh


class Plan(NamedTuple):
    """What is measured: how many images; how many of them by descents, and how many by the search."""

    suite: str
    images: int
    descents: int
    reference_images: int
    reference_starts: int
    reference_steps: int


def run(
    *,
    name: str,
    title: str,
    command: str,
    hardware: str,
    deployment: str,
    suite: str,
    images: int,
    descents: int,
    reference_images: int,
    reference_starts: int,
    reference_steps: int,
    seed: int,
    workdir: Path,
    share: Share = ALONE,
) -> dict[str, Any] | None:
    """Measure this process's attacks that `workdir` does not hold yet.

    Writes and returns NAME.json, which report/robustness.py shows; None while other processes still measure
    theirs. ValueError for a deployment without a decoder
    whose generator has no encoder, and for counts of images that do not lie within each other.
    """
    plan = Plan(suite, images, descents, reference_images, reference_starts, reference_steps)
    if not 0 <= reference_images <= descents <= images:
        raise ValueError(f"{plan}: expected images of a descent among all, and of the search among those")
    scene = open_scene(deployment, seed=seed)
    if not readers(scene):
        raise ValueError(f"{deployment} has no decoder: train one and `latentfp adopt` it")
    workdir.mkdir(parents=True, exist_ok=True)
    journal = Journal(workdir / "cells.jsonl", share)
    made = lru_cache(maxsize=2)(partial(_made, scene))
    show = lru_cache(maxsize=1)(partial(attacked, made, plan.suite, seed))
    facts = {**identity(scene), "suite": suite}
    for cell in cells_of(plan, scene, share):
        journal.kept(facts | cell._asdict(), lambda cell=cell: measure(scene, cell, show))
    cells = cells_of(plan, scene, ALONE)
    numbers = journal.complete(facts | cell._asdict() for cell in cells)
    if numbers is None:
        return None
    measured = list(zip(cells, numbers, strict=True))
    labels = {"name": name, "title": title, "command": command, "hardware": hardware}
    result = {**labels, **_facts(scene), **_result(scene, plan, measured)}
    (workdir / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def cells_of(plan: Plan, scene: Scene, share: Share) -> list[Cell]:
    """The cells of a process's attacks; the slow ones of the search come last."""
    chosen = [entry.name for entry in suite(plan.suite)]
    attacks = [(name, False) for name in chosen]
    if scene.subject.generator.renoise is not None:
        attacks += [(name, True) for name in FRESH]
    mine = share.of(attacks)
    counts = {**dict.fromkeys(readers(scene), plan.images), Method.REFINE: plan.descents}
    quick = [Cell(*attack, method.value, images) for attack in mine for method, images in counts.items()]
    if plan.reference_images == 0:
        return quick
    budget = (plan.reference_images, plan.reference_starts, plan.reference_steps)
    return quick + [Cell(*attack, Method.REFERENCE.value, *budget) for attack in mine]


def measure(scene: Scene, cell: Cell, show: Callable[[str, bool, int], Rows]) -> Numbers:
    """Wrong bits of each image, the calibration of all bits, and what it cost (seconds with compilation)."""
    began = time.perf_counter()
    codes = _codes(scene, cell.images)
    shown = to_float(show(cell.attack, cell.fresh, cell.images))
    budget = Budget()
    if cell.method == Method.REFERENCE:
        budget = budget._replace(
            search=search_of(scene.subject.generator, starts=cell.starts, steps=cell.steps)
        )
    searched = time.perf_counter()
    label = f"{cell.label}, {cell.method}"
    found = answers(scene, Method(cell.method), shown, label=label, budget=budget)
    ended = time.perf_counter()
    return {
        "wrong": wrong_bits(found, codes),
        "reliability": calibration.reliability(np.asarray(found.estimate.logits), codes)._asdict(),
        "failed": int((np.asarray(found.estimate.status) != 0).sum()),
        "passes": float(np.mean(found.passes)),
        "seconds_per_image": (ended - searched) / cell.images,
        "seconds": ended - began,
    }


def _codes(scene: Scene, images: int) -> CodeBook:
    return draw_codes(scene.seed, images, bits=scene.subject.bits, min_distance=1)


def _made(scene: Scene, fresh: bool, images: int) -> Rows:
    draw = marked_with_fresh_noise if fresh else marked_images
    return draw(scene.subject, _codes(scene, images), seed=scene.seed)


def attacked(
    made: Callable[[bool, int], Rows], suite: str, seed: int, attack: str, fresh: bool, images: int
) -> Rows:
    """The files of images that `made`(fresh noise maps, how many) makes, after an attack."""
    return through_files(made(fresh, images), attack_of(suite, attack), seed=seed)


def _facts(scene: Scene) -> dict[str, Any]:
    manifest, trained = scene.opened.manifest, scene.decoder
    return {
        "backend": jax.default_backend(),
        "generator": manifest.generator.name,
        "sigma": manifest.sigma,
        "coding": manifest.coding.value,
        "bits": manifest.bits,
        "decoder": None if trained is None else trained.sha256,
        "seed": scene.seed,
    }


def _result(scene: Scene, plan: Plan, measured: list[tuple[Cell, Numbers]]) -> dict[str, Any]:
    """The numbers by attack and method, those of the same few images, and the calibration of all cells."""
    rows: dict[str, dict[str, Any]] = {}
    for cell, numbers in measured:
        row = rows.setdefault(cell.label, {"attack": cell.label, "methods": {}, "reference": None})
        found = _numbers(scene, plan, numbers)
        if cell.method == Method.REFERENCE:
            row["reference"] = found
        else:
            row["methods"][cell.method] = found
    methods = rows[CLEAN]["methods"]
    parts = {m: [_reliability(n) for cell, n in measured if cell.method == m] for m in methods}
    return {
        "seconds": sum(numbers["seconds"] for _, numbers in measured),
        "search": {
            "images": plan.reference_images,
            "starts": plan.reference_starts,
            "steps": plan.reference_steps,
        },
        "rows": list(rows.values()),
        "pooled": {m: calibration.summary(calibration.pooled(parts[m])) for m in methods},
    }


def _numbers(scene: Scene, plan: Plan, numbers: Numbers) -> dict[str, Any]:
    wrong, few = numbers["wrong"], numbers["wrong"][: plan.reference_images]
    kept = {name: numbers[name] for name in ("failed", "passes", "seconds_per_image")}
    return {
        **accuracy_of(wrong, bits=scene.subject.bits),
        **kept,
        "same_images": accuracy_of(few, bits=scene.subject.bits) if few else None,
        "calibration": calibration.summary(_reliability(numbers)),
    }


def _reliability(numbers: Numbers) -> Reliability:
    return Reliability(**numbers["reliability"])
