"""Predicted accuracy and quality against measured ones, and the chosen design against the paper's.

Every cell of a grid over strength, first axis, length and attack is predicted from Jacobians alone
(deployment/design.py) and then measured like a cell of the accuracy study: real files, no decoder,
descents from several starts that are not told of the damage. So predictions, which know the damage and find
the best place, are higher; whether they put cells in the right order is the rank correlation (Spearman 1904).

The design that is compared is the least visible one whose worst predicted accuracy is `margin` above that of
the `baseline`, with as many bits.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from latentfp.choices import Coding
from latentfp.deployment import design as designing
from latentfp.deployment.design import Proposal, Survey
from latentfp.deployment.fitting import USUAL, basis_of
from latentfp.fingerprint.basis import with_last
from latentfp.fingerprint.sensitivity import Marking
from latentfp.generators import pretrained
from latentfp.studies import accuracy
from latentfp.studies.experiment import Experiment, Numbers

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


class Settings(NamedTuple):
    """The grid, the compared designs, and how many Jacobians predictions stand on."""

    generator: str
    grid: Grid
    compared: Compared
    samples: int


def measure(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """The rows of the grid, the rank correlations, and baseline and chosen design as `compared`."""
    loaded, grid = pretrained.load(settings.generator), settings.grid
    basis = basis_of(loaded, USUAL)
    surveyed = designing.survey(loaded, basis, grid.attack, samples=settings.samples, seed=experiment.seed)
    places = list(product(grid.sigma, grid.shift, grid.bits))
    planned = [
        designing.predict(surveyed, Marking(range(shift, shift + bits), sigma))
        for sigma, shift, bits in places
    ]
    rivals = _rivals(surveyed, settings.compared)
    proposals = [(one, grid.images) for one in planned]
    proposals += [(one, settings.compared.images) for one in rivals.values()]
    cells = [
        {"axes": tuple(one.axes), "sigma": one.sigma, "attack": attack, "images": images}
        for one, images in proposals
        for attack in grid.attack
    ]

    def measured(cell: dict[str, Any]) -> Numbers:
        axes, given = cell["axes"], {name: value for name, value in cell.items() if name != "axes"}
        last = with_last(basis, axes)
        shared = accuracy.ground(loaded, last, bits=len(axes), coding=Coding.ANTIPODAL, seed=experiment.seed)
        given |= {"shift": len(basis.axes) - len(axes), **DESCENTS}
        found = accuracy.estimated(shared, accuracy.Cell(**given))
        return {"accuracy": found["bit_accuracy"], "all_bits": found["all_bits"], "psnr": found["psnr"]}

    belongs = {"generator": loaded.identity, "seed": experiment.seed}
    numbers = experiment.measured(cells, measured, belongs=belongs, together=itemgetter("axes", "sigma"))
    told = iter(numbers)
    rows = [
        {
            **{"sigma": sigma, "shift": shift, "bits": bits, "attack": attack},
            "predicted": {"accuracy": one.accuracy[attack], "psnr": one.psnr},
            "measured": next(told),
        }
        for (sigma, shift, bits), one in zip(places, planned, strict=True)
        for attack in grid.attack
    ]
    compared = [
        {"name": name, **one._asdict(), "measured": {attack: next(told) for attack in grid.attack}}
        for name, one in rivals.items()
    ]
    ranked = {"rank_correlation": correlations(rows), "compared": compared}
    return {"images": grid.images, "rows": rows, **ranked}


def _rivals(surveyed: Survey, compared: Compared) -> dict[str, Proposal]:
    """Baseline and chosen design."""
    first = Marking(range(compared.shift, compared.shift + compared.bits), compared.sigma)
    baseline = designing.predict(surveyed, first)
    target = min(1 - 1e-6, min(baseline.accuracy.values()) + compared.margin)
    return {
        "baseline": baseline,
        "chosen": designing.choose(surveyed, target=target, lengths=[compared.bits]),
    }


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
