"""Accuracy of attribution, one thing varied at a time, on images that were read back from PNG files.

A cell draws a fresh code for each image, writes it into a true sample of the prior, saves the image, reads
it, attacks it, saves and reads it again, and estimates the code. *All-bits accuracy*, the paper's measure, is
the share of images with every bit right; *bit accuracy* the mean share of right bits.
"""

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from latentfp import rng
from latentfp.attribution import cascade as cascades
from latentfp.attribution.cascade import Budget, make_cascade
from latentfp.attribution.descent import Subject
from latentfp.attribution.estimate import numbered
from latentfp.choices import Coding, Method
from latentfp.deployment.constants import subject_of
from latentfp.deployment.copies import draw_latents, mark_latents
from latentfp.deployment.fitting import Sampling, basis_of
from latentfp.fingerprint.basis import Basis, split
from latentfp.fingerprint.codes import CodeBook, draw_codes
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_float
from latentfp.quality import pixels
from latentfp.quality.distribution import frechet_distance
from latentfp.quality.features import RANDOM, features
from latentfp.runtime.progress import progress
from latentfp.studies.context import attack_of, search_of, through_files, wrong_bits
from latentfp.studies.experiment import Experiment, Numbers
from latentfp.studies.statistics import accuracy_of


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


class Ground(NamedTuple):
    """What all cells stand on."""

    loaded: Pretrained
    basis: Basis
    bits: int
    coding: Coding
    seed: int
    contents: Callable[[int], Float[np.ndarray, "n d"]]  # latents of n images, the same in all cells


def measure(experiment: Experiment, settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """`cells`: a row for every entry."""
    loaded = pretrained.load(settings.generator)
    basis = basis_of(loaded, Sampling(settings.samples, experiment.seed))
    shared = ground(loaded, basis, bits=settings.bits, coding=Coding(settings.coding), seed=experiment.seed)
    belongs = {"generator": loaded.identity, "samples": settings.samples, "bits": settings.bits}
    numbers = experiment.measured(
        [entry.cell for entry in settings.entries],
        lambda cell: estimated(shared, cell),
        belongs={**belongs, "coding": settings.coding, "seed": experiment.seed},
    )
    return {
        "cells": [
            {
                **{"group": entry.group, "value": entry.value},
                **{name: value for name, value in found.items() if name != "seconds"},
                **{"starts": entry.cell.starts, "steps": entry.cell.steps},
            }
            for entry, found in zip(settings.entries, numbers, strict=True)
        ]
    }


def ground(loaded: Pretrained, basis: Basis, *, bits: int, coding: Coding, seed: int) -> Ground:
    """The generator and the basis, with latents that are drawn once for each number of them."""
    key = rng.stream(rng.root(seed), "study")

    @cache
    def contents(count: int) -> Float[np.ndarray, "n d"]:
        return draw_latents(loaded.generator, loaded.params, key, count=count)

    return Ground(loaded, basis, bits, coding, seed, contents)


def estimated(shared: Ground, cell: Cell) -> Numbers:
    """The numbers of a cell; `psnr` of images with codes to those without, in dB."""
    if cell.method not in list(Method):
        raise ValueError(f"method {cell.method!r}: expected one of {', '.join(Method)}")
    space = split(shared.basis, shift=cell.shift, bits=shared.bits)
    subject = subject_of(shared.loaded, space, sigma=cell.sigma, coding=shared.coding)
    codes = codes_of(shared, cell.images, seed=shared.seed)
    issued = mark_latents(subject, shared.contents(cell.images), codes)
    files = through_files(issued.marked, attack_of("nie2023", cell.attack), seed=shared.seed)
    budget = search_of(subject.generator, starts=cell.starts, steps=cell.steps)
    descent = Budget().multistart._replace(steps=cell.steps)
    cascade = make_cascade(
        subject,
        None,
        Method(cell.method),
        key=rng.stream(rng.root(shared.seed), "search"),
        budget=budget._replace(multistart=descent, starts=cell.starts),
    )
    label = f"sigma {cell.sigma:.3g}, shift {cell.shift}, {cell.attack}"
    with progress(label, cell.images) as advance:
        began = time.perf_counter()
        found = cascades.run(cascade, to_float(files), numbered(0, cell.images), progress=advance)
        searching = time.perf_counter() - began
    return {
        **accuracy_of(wrong_bits(found, codes), bits=shared.bits)._asdict(),
        "psnr": float(np.mean(jax.vmap(pixels.psnr)(to_float(issued.marked), to_float(issued.plain)))),
        "frechet": _frechet(shared, subject, cell.frechet_images) if cell.frechet_images else None,
        "seconds_per_image": searching / cell.images,
    }


def codes_of(shared: Ground, n: int, *, seed: int, min_distance: int | None = None) -> CodeBook:
    """Codes as a deployment draws them: balanced ones where a one changes an image and a zero does not."""
    balanced = shared.coding is Coding.BINARY
    return draw_codes(seed, n, bits=shared.bits, min_distance=min_distance, balanced=balanced)


def _frechet(shared: Ground, subject: Subject, n: int) -> float:
    """Between images with codes and as many others without, in random features."""
    codes = codes_of(shared, n, seed=shared.seed + 1, min_distance=1)
    issued = mark_latents(subject, shared.contents(n), codes)
    half = n // 2
    return frechet_distance(features(RANDOM, issued.marked[:half]), features(RANDOM, issued.plain[half:]))
