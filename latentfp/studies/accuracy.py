"""Accuracy of attribution, one thing varied at a time, on images that were read back from PNG files.

A cell draws a fresh code for each image, writes it into a true sample of the prior, saves the image, reads
it, attacks it, saves and reads it again, and estimates the code. *All-bits accuracy*, the paper's measure, is
the share of images with every bit right; *bit accuracy* the mean share of right bits. Finished cells lie in
`cells.jsonl` and are not run again.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from latentfp import rng
from latentfp.attribution.estimate import Estimator
from latentfp.augment.suites import suite
from latentfp.data.files import read_image, write_image
from latentfp.deployment.fitting import sample_basis
from latentfp.deployment.issue import Issued, issue
from latentfp.deployment.methods import Budget, Method, make_estimator, subject_of
from latentfp.fingerprint.basis import Basis, split
from latentfp.fingerprint.codes import draw_codes
from latentfp.fingerprint.embed import Coding
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_float
from latentfp.quality import pixels
from latentfp.quality.distribution import frechet_distance
from latentfp.quality.features import random_features
from latentfp.runtime.progress import progress
from latentfp.studies.intervals import binomial_interval

Rows = UInt8[np.ndarray, "n h w 3"]


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
) -> dict[str, Any]:
    """Measure all cells that `workdir` does not hold yet; the result is what report/study.py shows."""
    loaded = pretrained.load(generator)
    setting = Setting(loaded, sample_basis(loaded, samples=samples, seed=seed), bits, Coding(coding), seed)
    workdir.mkdir(parents=True, exist_ok=True)
    chosen = [Cell(**fields) for fields in cells]
    journal = Journal(workdir / "cells.jsonl")
    for cell in chosen:
        if journal.get(cell) is None:
            journal.add(cell, measure(setting, cell))
    numbers = [journal.get(cell) or {} for cell in chosen]
    rows = [_labels(cell) | row for cell, row in zip(chosen, numbers, strict=True)]
    seconds = sum({cell[2:]: row["seconds"] for cell, row in zip(chosen, numbers, strict=True)}.values())
    result = {"name": name, "title": title, "command": command, "hardware": hardware}
    return {**result, "seconds": seconds, "cells": rows}


class Journal:
    """What was measured, one line a setting; cells that differ only in their labels share a line."""

    def __init__(self, path: Path):
        self._path, self._rows = path, {}
        for line in path.read_text().splitlines() if path.exists() else []:
            row = json.loads(line)
            self._rows[tuple(row["setting"])] = row["numbers"]

    def get(self, cell: Cell) -> dict[str, Any] | None:
        """The numbers of a cell, if it was measured."""
        return self._rows.get(cell[2:])

    def add(self, cell: Cell, numbers: dict[str, Any]) -> None:
        """Keep the numbers of a cell."""
        self._rows[cell[2:]] = numbers
        with self._path.open("a") as file:
            file.write(json.dumps({"setting": cell[2:], "numbers": numbers}) + "\n")


def _labels(cell: Cell) -> dict[str, Any]:
    return {key: getattr(cell, key) for key in ("group", "value", "images", "starts", "steps")}


def measure(setting: Setting, cell: Cell) -> dict[str, Any]:
    """The numbers of a cell."""
    began = time.perf_counter()
    codes = draw_codes(setting.seed, cell.images, bits=setting.bits)
    issued = issue_cell(setting, cell, codes)
    files = through_files(issued.marked, cell.attack, seed=setting.seed)
    label = f"{cell.group} {cell.value}"
    with progress(label, cell.images * cell.starts * cell.steps) as advance:
        estimate = estimator_of(setting, cell, advance)
        searched = time.perf_counter()
        found = np.asarray(estimate(to_float(files), 0).estimate.code)
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
    key = rng.stream(rng.root(setting.seed), "study")
    return issue(
        setting.loaded.generator,
        setting.loaded.params,
        space,
        codes,
        sigma=cell.sigma,
        coding=setting.coding,
        key=key,
    )


def estimator_of(setting: Setting, cell: Cell, advance: Callable[[int], object]) -> Estimator:
    """The method of the cell. A reference with fewer steps than the paper's anneals as far in its steps."""
    space = split(setting.basis, shift=cell.shift, bits=setting.bits)
    usual = Budget()
    search = usual.search._replace(
        starts=cell.starts, steps=cell.steps, decay=usual.search.decay * usual.search.steps / cell.steps
    )
    descent = usual.multistart._replace(steps=cell.steps)
    estimate, _ = make_estimator(
        subject_of(setting.loaded, space, sigma=cell.sigma, coding=setting.coding),
        None,
        Method(cell.method),
        key=rng.stream(rng.root(setting.seed), "search"),
        budget=usual._replace(search=search, multistart=descent, starts=cell.starts),
        progress=advance,
    )
    return estimate


def through_files(marked: Rows, attack: str, *, seed: int) -> Rows:
    """The images after saving, reading, attacking, saving and reading again."""
    chosen = {entry.name: entry for entry in suite("nie2023")}
    if attack not in chosen:
        raise ValueError(f"attack {attack!r}: expected one of {', '.join(chosen)}")
    keys = [rng.stream(rng.root(seed), "attack", i) for i in range(len(marked))]
    with tempfile.TemporaryDirectory() as folder:
        read = (_filed(Path(folder) / f"{i}.png", image) for i, image in enumerate(marked))
        attacked = [chosen[attack].apply(key, image) for key, image in zip(keys, read, strict=True)]
        return np.stack(
            [_filed(Path(folder) / f"{i}-attacked.png", image) for i, image in enumerate(attacked)]
        )


def _filed(path: Path, image: np.ndarray) -> np.ndarray:
    write_image(path, image)
    return read_image(path, size=image.shape[:2])


def frechet(setting: Setting, cell: Cell) -> float:
    """Between images with codes and as many others without, in random features."""
    n = cell.frechet_images
    fresh = draw_codes(setting.seed + 1, n, bits=setting.bits, min_distance=1)
    issued = issue_cell(setting, cell, fresh)
    half = n // 2
    return frechet_distance(features(issued.marked[:half]), features(issued.plain[half:]))


def features(images: Iterable[np.ndarray]) -> Float[np.ndarray, "n f"]:
    """Random features of pixels [h w 3], 100 at a time."""
    rows = np.stack(list(images))
    embed = jax.jit(jax.vmap(random_features))
    return np.concatenate(
        [np.asarray(embed(jnp.asarray(to_float(rows[i : i + 100])))) for i in range(0, len(rows), 100)]
    )
