"""False accusations, measured: negatives of every kind against deployments with other secrets.

An image is read once; its soft bits are then judged by `deployments` registries of N users, each with codes
of its own, after every stage that is run. A promise holds if, of n images that nobody made, not more than
n alpha are attributed, up to what chance allows. Over secrets it holds by construction
(attribution/evidence.py); for one secret it is what is measured here, because readings of like images hang
together:

* the rate of every kind, N and alpha over all deployments, and its exact interval, images counted once;
* the worst deployment's rate;
* effective independent bits, p(1 - p) / var of the share of bits in which readings of two images differ
  (Daugman 2003, Pattern Recognition 36): how far readings are from independent fair bits;
* the share of cases, of files drawn from all kinds, in which anyone is accused of anything at alpha, by
  Holm's step-down;
* the share of cases of TOGETHER files, judged as of one origin, in which anyone is accused;
* the tail of -ln p beyond TAIL, exponential with scale 1 if p-values are exact: fitted to even images with a
  one-sided 95 % limit, tested on odd ones;
* the least rate that n images support at all, 3 / n.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int8, UInt8
from scipy.special import chdtri

from latentfp.attribution.evidence import Soft, chance, family_wise, holm, tempered
from latentfp.attribution.membership import explained
from latentfp.attribution.search import best
from latentfp.attribution.together import pool
from latentfp.choices import Method
from latentfp.runtime.progress import track
from latentfp.studies import readings
from latentfp.studies.context import identity, open_context
from latentfp.studies.experiment import Experiment
from latentfp.studies.negatives import draw
from latentfp.studies.readings import Readings, join
from latentfp.studies.statistics import binomial_interval

TAIL = 0.01  # p-value beyond which the tail is fitted
PAIRS = 20_000
TOGETHER, MIXED = 8, 10_000  # files of a case that are judged together, and such cases
ORDER = 8  # bytes of a code are whole words

PValues = Float[np.ndarray, "deployments n"]


class Settings(NamedTuple):
    """`images` of every kind, those of the kind folder from `folder`; `users`: sizes of registries, each in
    `deployments` of its own; `case`: files that are judged together (Holm)."""

    deployment: str
    images: Mapping[str, int]
    users: Sequence[int]
    deployments: Sequence[int]
    alphas: Sequence[float]
    method: str
    case: int = 100
    folder: str | None = None
    content: str = ""


def measure(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """What `rates_of` finds in readings of all files."""
    context = open_context(settings.deployment, seed=experiment.seed, content=settings.content)
    method = Method(settings.method)

    def read_part(kind: str, first: int, n: int) -> Readings:
        """Nobody is registered while images are read, so none is named before the last stage."""
        images = draw(kind, context, n, seed=context.seed, first=first, folder=settings.folder)
        return readings.read(context, method, images, label=kind, decided=explained, first=first)

    belongs = {**identity(context), "method": settings.method}
    wanted = {kind: n for kind, n in settings.images.items() if n}
    found = readings.measured(experiment, wanted, read_part, belongs=belongs)
    return rates_of(found, settings, seed=context.seed)


def rates_of(found: Mapping[str, Readings], settings: Settings, *, seed: int) -> dict[str, Any]:
    """`rates` by kind and number of users, with tails, and how far `readings` of a kind hang together."""
    together = join(found.values())
    kinds = np.repeat(np.arange(len(found)), [len(it.soft) for it in found.values()])
    rows, cases = [], []
    order = np.random.default_rng(seed).permutation(len(together.soft))
    for users, deployments in zip(settings.users, settings.deployments, strict=True):
        seeds = track([(seed, users, i) for i in range(deployments)], f"{users} users")
        p = np.stack([p_values(together.soft, np.random.default_rng(one), users=users) for one in seeds])
        for i, kind in enumerate([*found, "all"]):
            chosen = p if kind == "all" else p[:, kinds == i]
            rows.append(
                {"kind": kind, "users": users, **_rates(chosen, settings.alphas), "tail": _tail(chosen)}
            )
        cases.append({"users": users, **_cases(p[:, order], settings)})
    believed = tempered(together.final, together.at_last(together.tempers))
    mixed = _mixed(believed, settings, seed=seed)
    everything = {**found, "all": together}
    dependence = {kind: _dependence(it.final, seed=seed) for kind, it in everything.items()}
    return {"rates": rows, "cases": cases, "together": mixed, "readings": dependence}


def p_values(
    soft: Int8[np.ndarray, "n s k"], random: np.random.Generator, *, users: int
) -> Float[np.ndarray, " n"]:
    """Family-wise p-values of the best of `users` random codes at any of `s` stages, for every image.

    1 stands for all whose best score is at most √Σ q², which one code in 20 reaches or more.
    Source: Oleszkiewicz 1996 (Statistics & Probability Letters 31), for sums of random signs.
    """
    n, stages, bits = soft.shape
    book = random.integers(256, size=(users, -(-bits // 64) * ORDER), dtype=np.uint8)
    rows, columns = np.nonzero(soft.any(axis=2))
    alone = np.ones((n, stages))
    alone[rows, columns] = _chances(soft[rows, columns], book)
    return family_wise(stages * alone.min(axis=1), users=users)


def _chances(soft: Soft, book: UInt8[np.ndarray, "users bytes"]) -> Float[np.ndarray, " n"]:
    """Of one code to be as good as the best of the book, 1 where that is common."""
    scores = best(soft, book, top=1).values[:, 0]
    high = np.flatnonzero(
        scores.astype(float) ** 2 * np.sign(scores) > np.square(soft.astype(float)).sum(axis=1)
    )
    alone = np.ones(len(soft))
    alone[high] = chance(soft[high], scores[high])
    return alone


def _rates(p: PValues, alphas: Sequence[float]) -> dict[str, Any]:
    """The share of images that are attributed, and its interval as if only one deployment had been seen."""
    deployments, n = p.shape
    found = {}
    for alpha in alphas:
        shares = (p <= alpha).mean(axis=1)
        count = round(float(shares.mean()) * n)
        found[f"{alpha:g}"] = {
            "accused": int((p <= alpha).sum()),
            "rate": float(shares.mean()),
            "interval": list(binomial_interval(count, n)),
            "worst": float(shares.max()),
        }
    return {"images": n, "deployments": deployments, "promised": found}


def _cases(p: PValues, settings: Settings) -> dict[str, Any]:
    """The share of cases of so many files, of all kinds mixed, in which anybody is accused of any file."""
    deployments, n = p.shape
    count = n // settings.case
    grouped = p[:, : count * settings.case].reshape(deployments * count, settings.case)
    smallest = np.array([min(holm(row.tolist())) for row in grouped])
    found = {"files": settings.case, "cases": count, "deployments": deployments}
    promised = {f"{alpha:g}": float((smallest <= alpha).mean()) for alpha in settings.alphas} if count else {}
    return {**found, "promised": promised}


def _mixed(soft: Soft, settings: Settings, *, seed: int) -> list[dict[str, Any]]:
    """The share of MIXED cases of TOGETHER files, of all kinds, that are judged as of one origin and accuse
    anybody: each deployment judges as many of them."""
    random, nothing = np.random.default_rng([seed, TOGETHER]), np.zeros(TOGETHER, bool)
    chosen = random.integers(len(soft), size=(MIXED, TOGETHER))
    pooled = np.concatenate([pool(soft[rows], None, nothing).soft for rows in chosen])
    found = []
    for users, deployments in zip(settings.users, settings.deployments, strict=True):
        parts = np.array_split(pooled[:, None], deployments)
        p = np.concatenate([p_values(part, random, users=users) for part in parts])
        promised = {f"{alpha:g}": float((p <= alpha).mean()) for alpha in settings.alphas}
        case = {"files": TOGETHER, "cases": MIXED, "deployments": deployments}
        found.append({"users": users, **case, "promised": promised})
    return found


def _tail(p: PValues) -> dict[str, Any]:
    """The scale of -ln p beyond TAIL, its limit, and how often odd images pass what the limit allows."""
    fitted = -np.log(p[:, ::2][p[:, ::2] <= TAIL] / TAIL)
    if len(fitted) < 2:
        return {"images": len(fitted)}
    scale = float(fitted.mean())
    limit = 2 * len(fitted) * scale / float(chdtri(2 * len(fitted), 0.95))
    held = -np.log(p[:, 1::2][p[:, 1::2] <= TAIL] / TAIL)
    beyond = int((held > limit * np.log(100)).sum())
    return {
        "images": len(fitted),
        "scale": scale,
        "limit": limit,
        "held_out": len(held),
        "one_in_100": beyond,
    }


def _dependence(soft: Soft, *, seed: int) -> dict[str, Any]:
    """Bias of bits, effective bits, and the least rate that so many images support."""
    bits = soft > 0
    random = np.random.default_rng(seed)
    a, b = random.integers(len(bits), size=(2, PAIRS))
    apart = (bits[a] != bits[b])[a != b].mean(axis=1)
    variance = float(apart.var())
    mean = float(apart.mean())
    return {
        "images": len(bits),
        "largest_bias": float(np.abs(bits.mean(axis=0) - 0.5).max()),
        "effective_bits": mean * (1 - mean) / variance if variance > 0 else 0.0,
        "mean_confidence": float(np.abs(soft.astype(float)).mean()),
        "supported_rate": 3 / len(bits),
    }
