"""How often the default method names the right one of many users, and how often a wrong one.

Registered are `users` fair random codes. File i is made with the code of a user drawn from all of them,
saved, attacked and saved again; the method judges it as `latentfp attribute` does, after every stage that it
climbs. Readings are kept, so a killed run goes on.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from latentfp.attribution.evidence import chance
from latentfp.attribution.ranking import among_packed
from latentfp.attribution.verdict import Registered, family_wise
from latentfp.choices import Method, Stage
from latentfp.deployment.inquiry import stage_by_stage, sufficient
from latentfp.deployment.methods import Budget, stages
from latentfp.fingerprint.codes import Packed, pack, unpack
from latentfp.runtime.progress import track
from latentfp.studies.intervals import binomial_interval
from latentfp.studies.marked import attack_of, marked_images, through_files
from latentfp.studies.readings import Readings, claim, kept, read
from latentfp.studies.scene import Scene, identity, open_scene

SUITE = "nie2023"
BLOCK = 256  # files that are ranked at once

PValues = Float[np.ndarray, " files"]


def run(
    *,
    deployment: str,
    users: int,
    images: Mapping[str, int],
    alpha: float,
    method: str,
    seed: int,
    workdir: Path,
) -> dict[str, Any]:
    """Measure, and write identification.json. `images`: how many files of each attack of Nie et al. 2023."""
    scene = open_scene(deployment, seed=seed)
    book = draw_book(users, bits=scene.subject.bits // scene.opened.manifest.repeats, seed=seed)
    climbing = (Method(method), scene.subject, scene.decoder, Budget())
    registered = among_packed(book, bits=scene.subject.bits // scene.opened.manifest.repeats)
    registered = stage_by_stage(registered, *climbing)
    claim(workdir / "readings", {**identity(scene), "users": users, "alpha": alpha, "method": method})
    rows = []
    for attack, n in images.items():
        make = partial(_read, scene, Method(method), registered, book, attack, alpha)
        readings = kept(workdir / "readings", attack, n, make)
        found = judged(readings, registered, owners(n, users=users, seed=seed), book, alpha=alpha)
        rows.append({"attack": attack, **found, "stages": _stages(readings, stages(*climbing))})
    setting = {"users": users, "alpha": alpha, "method": method, "images": dict(images)}
    result = {**identity(scene), **setting, "rows": rows}
    (workdir / "identification.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def draw_book(users: int, *, bits: int, seed: int) -> Packed:
    """Fair random codes of all users, packed."""
    random = np.random.default_rng([seed, users])
    return pack(random.integers(2, size=(users, bits), dtype=np.uint8).astype(bool))


def owners(n: int, *, users: int, seed: int) -> Int[np.ndarray, " n"]:
    """Whose copy made file 0 … n - 1. File i has the same owner for every n."""
    return np.array([np.random.default_rng([seed, i]).integers(users) for i in range(n)])


def judged(
    readings: Readings,
    registered: Registered,
    owner: Int[np.ndarray, " files"],
    book: Packed,
    *,
    alpha: float,
) -> dict[str, Any]:
    """Files whose right or a wrong user is named, and what is known of those of which none is."""
    first, p = _best(readings, registered)
    named = p <= alpha
    right, wrong = named & (first == owner), named & (first != owner)
    codes = unpack(book[owner], bits=readings.soft.shape[2])
    errors = ((readings.final > 0) != codes).sum(axis=1)
    n = len(owner)
    return {
        "images": n,
        "right": int(right.sum()),
        "interval": list(binomial_interval(int(right.sum()), n)),
        "wrong": int(wrong.sum()),
        "wrong_interval": list(binomial_interval(int(wrong.sum()), n)),
        "first": int((first == owner).sum()),
        "bit_accuracy": 1 - float(errors.mean()) / codes.shape[1],
        "within_reach": float((_own(readings, codes, registered) <= alpha).mean()),
    }


def _best(readings: Readings, registered: Registered) -> tuple[Int[np.ndarray, " files"], PValues]:
    """The best user of every file's last stage, and the p-value."""
    rows, scores = [], []
    for start in track(range(0, len(readings.final), BLOCK), "ranking, blocks"):
        ranked = registered.rank(readings.final[start : start + BLOCK])
        rows.append(ranked.users[:, 0])
        scores.append(ranked.scores[:, 0])
    return np.concatenate(rows), _p(readings, np.concatenate(scores), registered)


def _own(readings: Readings, codes: Bool[np.ndarray, "files k"], registered: Registered) -> PValues:
    """The p-value that the right user has, best or not."""
    return _p(readings, (readings.final.astype(int) * (2 * codes.astype(int) - 1)).sum(axis=1), registered)


def _p(readings: Readings, scores: Int[np.ndarray, " files"], registered: Registered) -> PValues:
    alone = registered.surplus * chance(readings.final, scores)
    return family_wise(alone, users=registered.users)


def _stages(readings: Readings, climbed: Sequence[Stage]) -> dict[str, int]:
    counts = np.bincount(readings.last, minlength=readings.soft.shape[1]).tolist()
    names = [stage.name.lower() for stage in climbed][-len(counts) :]
    return dict(zip(names, counts, strict=True))


def _read(
    scene: Scene,
    method: Method,
    registered: Registered,
    book: Packed,
    attack: str,
    alpha: float,
    first: int,
    n: int,
) -> Readings:
    owner = owners(first + n, users=registered.users, seed=scene.seed)[first:]
    codes = unpack(book[owner], bits=registered.bits).repeat(scene.opened.manifest.repeats, axis=1)
    made = marked_images(scene.subject, codes, seed=scene.seed, first=first)
    files = through_files(made, attack_of(SUITE, attack), seed=scene.seed, first=first)
    decided = sufficient(registered, alpha=alpha)
    return read(scene, method, files, label=attack, decided=decided, first=first)
