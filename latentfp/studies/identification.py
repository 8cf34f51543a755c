"""How often the default method names the right one of many users, how often a wrong one, and how often it
clears everyone of a file that a registered user's copy made.

Registered are `users` fair random codes. File i is made with the code of a user drawn from all of them,
saved, attacked and saved again; the method judges it as `latentfp attribute` does, after every stage that it
runs. With several suites the files of each are also judged as if the deployment had been calibrated through
the attacks of all others, so that their damage is none that the calibration knew.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from latentfp.attribution.estimate import Answer
from latentfp.attribution.evidence import miss_p_value, score
from latentfp.attribution.membership import Null
from latentfp.attribution.ranking import among_packed
from latentfp.attribution.verdict import CLEARED, Kind, Registered, Verdict, judge_soft, p_values
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
from latentfp.studies.readings import Readings, join
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
    """`rows`: what is `judged` of the files of every attack, and how many of them ended at each stage; and
    what is `held_out`."""
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
    careful = held_out(found, cells, rule.registered, book, settings, seed=context.seed)
    return {"rows": rows, "held_out": careful}


def held_out(
    found: Mapping[str, Readings],
    cells: Mapping[str, tuple[str, str]],
    registered: Registered,
    book: Packed,
    settings: Settings,
    *,
    seed: int,
) -> list[dict[str, Any]]:
    """What a calibration through the attacks of all other suites makes of the files of each.

    `lost`: files that named the right user without it, and do not with it. Nothing where there is one suite.
    """
    owner = owners(settings.images, users=settings.users, seed=seed)
    by_suite = {
        name: join([found[cell] for cell, (suite, _) in cells.items() if suite == name])
        for name in dict.fromkeys(suite for suite, _ in cells.values())
    }
    rows = []
    for name, read in by_suite.items():
        others = [part for other, part in by_suite.items() if other != name]
        if not others:
            return []
        null = null_of(join(others), book[np.resize(owner, sum(len(it.soft) for it in others))])
        owns = np.resize(owner, len(read.soft)).tolist()
        plain, careful = (verdicts_of(read, registered, alpha=settings.alpha, null=it) for it in (None, null))
        counts = {
            "cleared": sum(it.kind is Kind.NONE for it in careful),
            "cleared_without": sum(it.kind is Kind.NONE for it in plain),
            "right": sum(it.user == own for it, own in zip(plain, owns, strict=True)),
            "lost": sum(
                one.user == own and other.user != own
                for one, other, own in zip(plain, careful, owns, strict=True)
            ),
        }
        interval = list(binomial_interval(counts["cleared"], len(owns)))
        rows.append({"suite": name, "files": len(owns), **counts, "cleared_interval": interval})
    return rows


def null_of(read: Readings, codes: Packed) -> Null:
    """The null of files whose codes are known."""
    left, soft = read.at_last(read.misfits), read.final
    scores = score(soft, unpack(codes, bits=soft.shape[1]))
    misses = miss_p_value(soft, scores, read.at_last(read.tempers))
    return Null(np.sort(left), np.sort(misses), Stage.MULTISTART)


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
    """Files that name the right user, and a wrong one, and those that are said to be nobody's, with exact
    95 % intervals.

    `first`: whose user ranks first, named or not; `within_reach`: whose user has a p-value up to alpha.
    """
    verdicts = verdicts_of(read, registered, alpha=alpha)
    named = np.array([-1 if it.user is None else it.user for it in verdicts])
    counts = {
        "right": int((named == owner).sum()),
        "wrong": int(((named >= 0) & (named != owner)).sum()),
        "cleared": sum(it.kind is Kind.NONE for it in verdicts),
    }
    n, codes = len(owner), unpack(book[owner], bits=read.soft.shape[2])
    intervals = {f"{name}_interval": list(binomial_interval(count, n)) for name, count in counts.items()}
    return {
        "images": n,
        **counts,
        **intervals,
        "first": sum(it.ranked[0].user == own for it, own in zip(verdicts, owner.tolist(), strict=True)),
        "bit_accuracy": float(((read.final > 0) == codes).mean()),
        "within_reach": float((_own(read, codes, registered) <= alpha).mean()),
    }


def verdicts_of(
    read: Readings, registered: Registered, *, alpha: float, null: Null | None = None
) -> list[Verdict]:
    """What is said of the files at their last stages; `null`: of the calibration, if there is one."""
    limits, alien = read.at_last(read.limits), np.zeros(len(read.soft), bool)
    misfits = read.at_last(read.misfits)
    if null is not None:
        last = read.last == read.soft.shape[1] - 1
        alien = last & (null.membership(misfits) <= CLEARED)
        limits = np.where(last & (limits == 0), null.limit, limits)
    return judge_soft(
        read.final,
        registered,
        alpha=alpha,
        failed=~np.isfinite(misfits),
        tempers=read.at_last(read.tempers),
        limits=limits,
        out_of_distribution=alien,
    )


def _own(read: Readings, codes: Bool[np.ndarray, "files k"], registered: Registered) -> PValues:
    """The p-value that the right user has, best or not."""
    return p_values(read.final, score(read.final, codes), registered)


def _stages(read: Readings, run_stages: Sequence[Stage]) -> dict[str, int]:
    counts = np.bincount(read.last, minlength=read.soft.shape[1]).tolist()
    names = [stage.name.lower() for stage in run_stages][-len(counts) :]
    return dict(zip(names, counts, strict=True))
