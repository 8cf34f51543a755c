"""Accuracy of attribution, one thing varied at a time, on images that were read back from PNG files.

A cell draws a fresh code for each image, writes it into a true sample of the prior, saves the image, reads
it, attacks it, saves and reads it again, and estimates the code. *All-bits accuracy*, the paper's measure, is
the share of images with every bit right; *bit accuracy* the mean share of right bits.
"""

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from latentfp import rng
from latentfp.attribution import cascade as cascades
from latentfp.attribution.cascade import Budget, Cascade, make_cascade
from latentfp.attribution.estimate import numbered
from latentfp.choices import Coding, Method
from latentfp.deployment.constants import subject_of
from latentfp.deployment.copies import Issued, draw_latents, mark_latents
from latentfp.deployment.fitting import Sampling, basis_of
from latentfp.fingerprint.basis import Basis, split
from latentfp.fingerprint.codes import draw_codes
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_float
from latentfp.quality import pixels
from latentfp.quality.distribution import frechet_distance
from latentfp.quality.features import RANDOM, features
from latentfp.runtime.progress import progress
from latentfp.studies.context import accuracy_of, search_of, wrong_bits
from latentfp.studies.experiment import Experiment, Numbers
from latentfp.studies.watermarked import attack_of, through_files


class Cell(NamedTuple):
    """What one cell measures. `frechet_images`: how many images the Fréchet distance compares (0: none)."""

    images: int
    sigma: float
    shift: int
    attack: str
    method: str
    starts: int
    steps: int
    frechet_images: int = 0


class Entry(NamedTuple):
    """A cell, and where reports show it: what was varied, and to which value."""

    group: str
    value: str
    cell: Cell


class Settings(NamedTuple):
    """What all cells share, and the cells."""

    generator: str
    samples: int
    bits: int
    coding: str
    entries: Sequence[Entry]


class Row(NamedTuple):
    """One entry; `psnr` of images with codes to those without, in dB."""

    group: str
    value: str
    images: int
    bit_accuracy: float
    all_bits: int
    interval: tuple[float, float]
    psnr: float
    frechet: float | None
    starts: int
    steps: int
    seconds_per_image: float


class Accuracies(NamedTuple):
    """What is found: a row for every entry."""

    cells: list[Row]


class Ground(NamedTuple):
    """What all cells stand on."""

    loaded: Pretrained
    basis: Basis
    bits: int
    coding: Coding
    seed: int
    contents: Callable[[int], Float[np.ndarray, "n d"]]  # latents of n images, the same in all cells


def measure(experiment: Experiment, settings: Settings) -> Accuracies | None:
    """None while other processes still measure their cells."""
    loaded = pretrained.load(settings.generator)
    basis = basis_of(loaded, Sampling(settings.samples, experiment.seed))
    shared = ground(loaded, basis, bits=settings.bits, coding=Coding(settings.coding), seed=experiment.seed)
    belongs = {"generator": loaded.identity, "samples": settings.samples, "bits": settings.bits}
    numbers = experiment.measured(
        [entry.cell for entry in settings.entries],
        lambda cell: estimated(shared, cell),
        belongs={**belongs, "coding": settings.coding, "seed": experiment.seed},
    )
    return None if numbers is None else Accuracies(list(map(_row, settings.entries, numbers)))


def ground(loaded: Pretrained, basis: Basis, *, bits: int, coding: Coding, seed: int) -> Ground:
    """The generator and the basis, with latents that are drawn once for each number of them."""
    key = rng.stream(rng.root(seed), "study")

    @cache
    def contents(count: int) -> Float[np.ndarray, "n d"]:
        return draw_latents(loaded.generator, loaded.params, key, count=count)

    return Ground(loaded, basis, bits, coding, seed, contents)


def _row(entry: Entry, numbers: Numbers) -> Row:
    kept = {name: numbers[name] for name in Row._fields if name in numbers}
    return Row(entry.group, entry.value, starts=entry.cell.starts, steps=entry.cell.steps, **kept)


def estimated(shared: Ground, cell: Cell) -> Numbers:
    """The numbers of a cell."""
    codes = draw_codes(shared.seed, cell.images, bits=shared.bits)
    issued = _issued(shared, cell, codes)
    files = through_files(issued.marked, attack_of("nie2023", cell.attack), seed=shared.seed)
    cascade, ids = _cascade(shared, cell), numbered(0, cell.images)
    label = f"sigma {cell.sigma:.3g}, shift {cell.shift}, {cell.attack}"
    with progress(label, cell.images) as advance:
        began = time.perf_counter()
        found = cascades.run(cascade, to_float(files), ids, progress=advance)
        searching = time.perf_counter() - began
    return {
        **accuracy_of(wrong_bits(found, codes), bits=shared.bits)._asdict(),
        "psnr": float(np.mean(jax.vmap(pixels.psnr)(to_float(issued.marked), to_float(issued.plain)))),
        "frechet": _frechet(shared, cell) if cell.frechet_images else None,
        "seconds_per_image": searching / cell.images,
    }


def _issued(shared: Ground, cell: Cell, codes: np.ndarray) -> Issued:
    """Images with and without their codes; the content is the same in all cells."""
    return mark_latents(
        shared.loaded.generator,
        shared.loaded.params,
        split(shared.basis, shift=cell.shift, bits=shared.bits),
        shared.contents(len(codes)),
        codes,
        sigma=cell.sigma,
        coding=shared.coding,
    )


def _cascade(shared: Ground, cell: Cell) -> Cascade:
    """The method of the cell."""
    space = split(shared.basis, shift=cell.shift, bits=shared.bits)
    if cell.method not in list(Method):
        raise ValueError(f"method {cell.method!r}: expected one of {', '.join(Method)}")
    descent = Budget().multistart._replace(steps=cell.steps)
    budget = search_of(shared.loaded.generator, starts=cell.starts, steps=cell.steps)
    return make_cascade(
        subject_of(shared.loaded, space, sigma=cell.sigma, coding=shared.coding),
        None,
        Method(cell.method),
        key=rng.stream(rng.root(shared.seed), "search"),
        budget=budget._replace(multistart=descent, starts=cell.starts),
    )


def _frechet(shared: Ground, cell: Cell) -> float:
    """Between images with codes and as many others without, in random features."""
    n = cell.frechet_images
    fresh = draw_codes(shared.seed + 1, n, bits=shared.bits, min_distance=1)
    issued = _issued(shared, cell, fresh)
    half = n // 2
    return frechet_distance(features(RANDOM, issued.marked[:half]), features(RANDOM, issued.plain[half:]))
