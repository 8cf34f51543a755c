"""Accuracy of attribution, one thing varied at a time, on images that were read back from PNG files.

A cell draws a fresh code for each image, writes it into a true sample of the prior, saves the image, reads
it, attacks it, saves and reads it again, and estimates the code. *All-bits accuracy*, the paper's measure, is
the share of images with every bit right; *bit accuracy* the mean share of right bits. Finished cells lie in
`cells.jsonl` and are not run again.
"""

import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from latentfp import rng
from latentfp.attribution.estimate import Estimator
from latentfp.choices import Coding, Method
from latentfp.deployment.copies import Issued, draw_latents, mark_latents
from latentfp.deployment.fitting import Sampling, basis_of
from latentfp.deployment.methods import Budget, make_estimator, subject_of
from latentfp.fingerprint.basis import Basis, split
from latentfp.fingerprint.codes import draw_codes
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_float
from latentfp.quality import pixels
from latentfp.quality.distribution import frechet_distance
from latentfp.quality.features import RANDOM, features
from latentfp.runtime.processes import ALONE, Share
from latentfp.runtime.progress import progress
from latentfp.studies.budgets import search_of
from latentfp.studies.intervals import binomial_interval
from latentfp.studies.journal import Journal
from latentfp.studies.marked import attack_of, through_files


class Cell(NamedTuple):
    """One setting. `frechet_images`: how many images the Fréchet distance compares (0: none)."""

    group: str
    value: str
    images: int
    sigma: float
    shift: int
    attack: str
    method: str
    starts: int
    steps: int
    frechet_images: int = 0


class Setting(NamedTuple):
    """What all cells share."""

    loaded: Pretrained
    basis: Basis
    bits: int
    coding: Coding
    seed: int
    contents: Callable[[int], Float[np.ndarray, "n d"]]  # latents of n images, the same in all cells


def run(
    *,
    name: str,
    title: str,
    command: str,
    hardware: str,
    generator: str,
    samples: int,
    bits: int,
    coding: str,
    seed: int,
    cells: Sequence[dict[str, Any]],
    workdir: Path,
    share: Share = ALONE,
) -> dict[str, Any] | None:
    """Measure this process's cells that `workdir` does not hold yet; report/study.py shows the result.

    None while other processes still measure theirs.
    """
    loaded = pretrained.load(generator)
    key = rng.stream(rng.root(seed), "study")

    @cache
    def contents(count: int) -> Float[np.ndarray, "n d"]:
        return draw_latents(loaded.generator, loaded.params, key, count=count)

    basis = basis_of(loaded, Sampling(samples, seed))
    setting = Setting(loaded, basis, bits, Coding(coding), seed, contents)
    workdir.mkdir(parents=True, exist_ok=True)
    chosen = [Cell(**fields) for fields in cells]
    journal = Journal(workdir / "cells.jsonl", share)
    held = [loaded.identity, samples, bits, coding, seed]
    for cell in share.of([*{cell[2:]: cell for cell in chosen}.values()]):
        journal.kept([*held, *cell[2:]], lambda cell=cell: measure(setting, cell))
    numbers = journal.complete([*held, *cell[2:]] for cell in chosen)
    if numbers is None:
        return None
    rows = [_labels(cell) | row for cell, row in zip(chosen, numbers, strict=True)]
    seconds = sum({cell[2:]: row["seconds"] for cell, row in zip(chosen, numbers, strict=True)}.values())
    result = {"name": name, "title": title, "command": command, "hardware": hardware}
    return {**result, "seconds": seconds, "cells": rows}


def _labels(cell: Cell) -> dict[str, Any]:
    return {key: getattr(cell, key) for key in ("group", "value", "images", "starts", "steps")}


def measure(setting: Setting, cell: Cell) -> dict[str, Any]:
    """The numbers of a cell."""
    began = time.perf_counter()
    codes = draw_codes(setting.seed, cell.images, bits=setting.bits)
    issued = issue_cell(setting, cell, codes)
    files = through_files(issued.marked, attack_of("nie2023", cell.attack), seed=setting.seed)
    label = f"{cell.group} {cell.value}"
    estimator = estimator_of(setting, cell)
    with progress(label, estimator.work * cell.images) as advance:
        searched = time.perf_counter()
        found = np.asarray(estimator.run(to_float(files), 0, advance).estimate.code)
        searching = time.perf_counter() - searched
    right = found == codes
    complete = int(right.all(axis=1).sum())
    return {
        "bit_accuracy": float(right.mean()),
        "all_bits": complete,
        "interval": list(binomial_interval(complete, cell.images)),
        "psnr": float(np.mean(jax.vmap(pixels.psnr)(to_float(issued.marked), to_float(issued.plain)))),
        "frechet": frechet(setting, cell) if cell.frechet_images else None,
        "seconds_per_image": searching / cell.images,
        "seconds": time.perf_counter() - began,
    }


def issue_cell(setting: Setting, cell: Cell, codes: np.ndarray) -> Issued:
    """Images with and without their codes; the content is the same in all cells."""
    space = split(setting.basis, shift=cell.shift, bits=setting.bits)
    return mark_latents(
        setting.loaded.generator,
        setting.loaded.params,
        space,
        setting.contents(len(codes)),
        codes,
        sigma=cell.sigma,
        coding=setting.coding,
    )


def estimator_of(setting: Setting, cell: Cell) -> Estimator:
    """The method of the cell."""
    space = split(setting.basis, shift=cell.shift, bits=setting.bits)
    if cell.method not in list(Method):
        raise ValueError(f"method {cell.method!r}: expected one of {', '.join(Method)}")
    usual = Budget()
    search = search_of(setting.loaded.generator, starts=cell.starts, steps=cell.steps)
    descent = usual.multistart._replace(steps=cell.steps)
    return make_estimator(
        subject_of(setting.loaded, space, sigma=cell.sigma, coding=setting.coding),
        None,
        Method(cell.method),
        key=rng.stream(rng.root(setting.seed), "search"),
        budget=usual._replace(search=search, multistart=descent, starts=cell.starts),
    )


def frechet(setting: Setting, cell: Cell) -> float:
    """Between images with codes and as many others without, in random features."""
    n = cell.frechet_images
    fresh = draw_codes(setting.seed + 1, n, bits=setting.bits, min_distance=1)
    issued = issue_cell(setting, cell, fresh)
    half = n // 2
    return frechet_distance(features(RANDOM, issued.marked[:half]), features(RANDOM, issued.plain[half:]))
