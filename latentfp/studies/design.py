"""Predicted accuracy and quality against measured ones, and the chosen design against the paper's.

Every cell of a grid over strength, first axis, length and attack is predicted from Jacobians alone
(deployment/designing.py) and then measured like a cell of the accuracy study: real files, no decoder,
descents from several starts that are not told of the damage. So predictions, which know the damage and find
the best place, are higher; whether they put cells in the right order is the rank correlation (Spearman 1904).

The design that is compared is the least visible one whose worst predicted accuracy is `margin` above that of
the `baseline`, with as many bits.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from latentfp import rng
from latentfp.choices import Coding
from latentfp.deployment import design as designing
from latentfp.deployment.copies import draw_latents
from latentfp.deployment.design import Proposal, Survey
from latentfp.deployment.fitting import USUAL, basis_of
from latentfp.fingerprint.basis import Basis, with_last
from latentfp.fingerprint.sensitivity import Marking
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained
from latentfp.runtime.progress import track
from latentfp.studies import accuracy
from latentfp.studies.journal import Journal

DESCENTS = {"method": "multistart", "starts": 3, "steps": 36}


class Grid(NamedTuple):
    """Strengths, first axes, lengths and attacks, and on how many images a cell is measured."""

    sigma: Sequence[float]
    shift: Sequence[int]
    bits: Sequence[int]
    attack: Sequence[str]
    images: int


class Compared(NamedTuple):
    """The baseline, by how much its worst predicted accuracy is to be passed, and on how many images."""

    sigma: float
    shift: int
    bits: int
    margin: float
    images: int


def run(
    *,
    generator: str,
    grid: Mapping[str, Any],
    compared: Mapping[str, Any],
    samples: int,
    seed: int,
    workdir: Path,
) -> dict[str, Any]:
    """Measure what `workdir` does not hold yet, and write design.json; report/design.py shows the result."""
    loaded = pretrained.load(generator)
    basis, cells, rivals = basis_of(loaded, USUAL), Grid(**grid), Compared(**compared)
    surveyed = designing.survey(loaded, basis, cells.attack, samples=samples, seed=seed)
    workdir.mkdir(parents=True, exist_ok=True)
    journal = Journal(workdir / "cells.jsonl")
    rows = _grid_rows(loaded, basis, surveyed, cells, journal, seed)
    result = {
        "generator": generator,
        "images": cells.images,
        "rows": rows,
        "rank_correlation": correlations(rows),
        "compared": _compare(loaded, basis, surveyed, rivals, journal, seed),
    }
    (workdir / "design.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _grid_rows(
    loaded: Pretrained, basis: Basis, surveyed: Survey, grid: Grid, journal: Journal, seed: int
) -> list[dict[str, Any]]:
    rows = []
    for sigma, shift, bits in track([*product(grid.sigma, grid.shift, grid.bits)], "designs of the grid"):
        proposal = designing.predict(surveyed, Marking(range(shift, shift + bits), sigma))
        for attack in grid.attack:
            place = {"sigma": sigma, "shift": shift, "bits": bits, "attack": attack}
            measured = _measured(loaded, basis, proposal, attack, grid.images, journal, seed)
            predicted = {"accuracy": proposal.accuracy[attack], "psnr": proposal.psnr}
            rows.append({**place, "predicted": predicted, "measured": measured})
    return rows


def correlations(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Spearman's, of predicted and measured accuracy over all rows and by attack, and of PSNR.

    None where all values are the same.
    """

    def of(some: Sequence[Mapping[str, Any]], name: str) -> float | None:
        predicted, measured = ([row[side][name] for row in some] for side in ("predicted", "measured"))
        if len(set(predicted)) < 2 or len(set(measured)) < 2:
            return None
        return float(np.asarray(spearmanr(predicted, measured))[0])

    attacks = dict.fromkeys(row["attack"] for row in rows)
    by_attack = {
        attack: of([row for row in rows if row["attack"] == attack], "accuracy") for attack in attacks
    }
    return {"accuracy": of(rows, "accuracy"), **by_attack, "psnr": of(rows, "psnr")}


def _compare(
    loaded: Pretrained, basis: Basis, surveyed: Survey, rivals: Compared, journal: Journal, seed: int
) -> list[dict[str, Any]]:
    """Baseline and chosen design, predicted and measured under every attack."""
    first = Marking(range(rivals.shift, rivals.shift + rivals.bits), rivals.sigma)
    baseline = designing.predict(surveyed, first)
    target = min(1 - 1e-6, min(baseline.accuracy.values()) + rivals.margin)
    chosen = designing.choose(surveyed, target=target, lengths=[rivals.bits])
    return [
        {
            "name": name,
            **proposal._asdict(),
            "measured": {
                attack: _measured(loaded, basis, proposal, attack, rivals.images, journal, seed)
                for attack in surveyed.known
            },
        }
        for name, proposal in (("baseline", baseline), ("chosen", chosen))
    ]


def _measured(
    loaded: Pretrained,
    basis: Basis,
    proposal: Proposal,
    attack: str,
    images: int,
    journal: Journal,
    seed: int,
) -> dict[str, Any]:
    """Share of right bits and PSNR of files with this design, from the journal if it is there."""
    bits = len(proposal.axes)
    key = [loaded.identity, proposal.axes, proposal.sigma, attack, images, seed]

    def measure() -> dict[str, Any]:
        where = rng.stream(rng.root(seed), "study")

        def contents(count: int) -> np.ndarray:
            return draw_latents(loaded.generator, loaded.params, where, count=count)

        last = with_last(basis, proposal.axes)
        setting = accuracy.Setting(loaded, last, bits, Coding.ANTIPODAL, seed, contents)
        shift = len(basis.axes) - bits
        fields = {"sigma": proposal.sigma, "shift": shift, "attack": attack, "images": images, **DESCENTS}
        cell = accuracy.Cell(group=f"{bits} bits, sigma {proposal.sigma:.3g},", value=attack, **fields)
        found = accuracy.measure(setting, cell)
        return {"accuracy": found["bit_accuracy"], "all_bits": found["all_bits"], "psnr": found["psnr"]}

    return journal.kept(key, measure)
