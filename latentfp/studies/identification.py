"""How often the default method names the right one of many users, and how often a wrong one.

Registered are `users` fair random codes. File i is made with the code of a user drawn from all of them,
saved, attacked and saved again; the method judges it as `latentfp attribute` does, after every stage that it
runs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from latentfp.attribution.estimate import Answer
from latentfp.attribution.evidence import score
from latentfp.attribution.ranking import among_packed
from latentfp.attribution.verdict import Registered, p_values
from latentfp.choices import Method, Stage
from latentfp.fingerprint.codes import Packed, pack, unpack
from latentfp.studies import readings
from latentfp.studies.context import (
    attack_of,
    attacked_files,
    attacks_of,
    cascade_of,
    identity,
    open_context,
    rule_of,
)
from latentfp.studies.experiment import Experiment
from latentfp.studies.readings import Readings
from latentfp.studies.statistics import binomial_interval

PValues = Float[np.ndarray, " files"]


class Settings(NamedTuple):
    """`images` of every attack of the `suites`, the number of users, the family-wise rate, and the method."""

    deployment: str
    suites: Sequence[str]
    images: int
    users: int
    alpha: float
    method: str


def measure(experiment: Experiment, settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """`rows`: what is `judged` of the files of every attack, and how many of them ended at each stage."""
    context, method = open_context(settings.deployment, seed=experiment.seed), Method(settings.method)
    bits = context.subject.bits // context.opened.manifest.repeats
    book = draw_book(settings.users, bits=bits, seed=context.seed)
    rule = rule_of(context, method, among_packed(book, bits=bits), alpha=settings.alpha)

    def decided(answer: Answer) -> Bool[np.ndarray, " some"]:
        return rule.suffices(answer, np.arange(len(answer.stage)))

    cells = attacks_of(settings.suites)

    def read_part(attack: str, first: int, n: int) -> Readings:
        owner = owners(first + n, users=settings.users, seed=context.seed)[first:]
        codes = unpack(book[owner], bits=bits).repeat(context.opened.manifest.repeats, axis=1)
        shown = attacked_files(context, codes, attack_of(*cells[attack]), first=first)
        return readings.read(context, method, shown, label=attack, decided=decided, first=first)

    belongs = {"users": settings.users, "alpha": settings.alpha, "method": settings.method}
    counts = dict.fromkeys(cells, settings.images)
    found = readings.measured(experiment, counts, read_part, belongs={**identity(context), **belongs})
    run_stages = cascade_of(context, method).stages
    rows = []
    for attack, read in found.items():
        owner = owners(len(read.soft), users=settings.users, seed=context.seed)
        told = judged(read, rule.registered, owner, book, alpha=settings.alpha)
        suite, name = cells[attack]
        rows.append({"suite": suite, "attack": name, **told, "stages": _stages(read, run_stages)})
    return {"rows": rows}


def draw_book(users: int, *, bits: int, seed: int) -> Packed:
    """Fair random codes of all users, packed."""
    random = np.random.default_rng([seed, users])
    return pack(random.integers(2, size=(users, bits), dtype=np.uint8).astype(bool))


def owners(n: int, *, users: int, seed: int) -> Int[np.ndarray, " n"]:
    """Whose copy made file 0 … n - 1. File i has the same owner for every n."""
    return np.array([np.random.default_rng([seed, i]).integers(users) for i in range(n)])


def judged(
    read: Readings,
    registered: Registered,
    owner: Int[np.ndarray, " files"],
    book: Packed,
    *,
    alpha: float,
) -> dict[str, Any]:
    """Files that name the right user, and a wrong one, with exact 95 % intervals.

    `first`: whose user ranks first, named or not; `within_reach`: whose user has a p-value up to alpha.
    """
    ranked = registered.rank(read.final)
    first = ranked.users[:, 0]
    named = p_values(read.final, ranked.scores[:, 0], registered) <= alpha
    right, wrong = named & (first == owner), named & (first != owner)
    codes = unpack(book[owner], bits=read.soft.shape[2])
    errors = ((read.final > 0) != codes).sum(axis=1)
    n = len(owner)
    return {
        "images": n,
        "right": int(right.sum()),
        "interval": list(binomial_interval(int(right.sum()), n)),
        "wrong": int(wrong.sum()),
        "wrong_interval": list(binomial_interval(int(wrong.sum()), n)),
        "first": int((first == owner).sum()),
        "bit_accuracy": 1 - float(errors.mean()) / codes.shape[1],
        "within_reach": float((_own(read, codes, registered) <= alpha).mean()),
    }


def _own(read: Readings, codes: Bool[np.ndarray, "files k"], registered: Registered) -> PValues:
    """The p-value that the right user has, best or not."""
    return p_values(read.final, score(read.final, codes), registered)


def _stages(read: Readings, run_stages: Sequence[Stage]) -> dict[str, int]:
    counts = np.bincount(read.last, minlength=read.soft.shape[1]).tolist()
    names = [stage.name.lower() for stage in run_stages][-len(counts) :]
    return dict(zip(names, counts, strict=True))
