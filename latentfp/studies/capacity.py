"""How many users a deployment can tell apart, clean and under every attack of the named suites.

Every file is made with a fair random code of its own, saved, attacked, saved and read by a decoder and a
descent. Its own user would be named among N where 1 - (1 - P)^N ≤ alpha, P the exact chance that a random
code scores as well (attribution/evidence.py): so one reading gives the share of named files for every N at
once, without a registry. That another of the N scores better has a chance below alpha then. Readings are
kept, so a killed study goes on and no cell is read twice.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from latentfp.attribution.evidence import Soft, chance
from latentfp.attribution.membership import explained
from latentfp.attribution.verdict import family_wise
from latentfp.augment.suites import suite
from latentfp.choices import Method
from latentfp.runtime.processes import ALONE, Share
from latentfp.studies.intervals import binomial_interval
from latentfp.studies.marked import attack_of, marked_images, through_files
from latentfp.studies.readings import Readings, claim, kept, read, there
from latentfp.studies.scene import Scene, identity, open_scene


class Plan(NamedTuple):
    """`images` of every attack of the `suites`, the sizes of registries, and the family-wise rate."""

    suites: Sequence[str]
    images: int
    users: Sequence[int]
    alpha: float


def run(
    *, deployment: str, plan: Mapping[str, Any], seed: int, workdir: Path, share: Share = ALONE
) -> dict[str, Any] | None:
    """Measure this process's attacks that `workdir` does not hold yet; report/capacity.py shows the result.

    None while other processes still measure theirs.
    """
    scene, chosen = open_scene(deployment, seed=seed), Plan(**plan)
    folder, n = workdir / "readings", chosen.images
    claim(folder, identity(scene))
    cells = [(name, attack.name) for name in chosen.suites for attack in suite(name)]
    for cell in share.of(cells):
        kept(folder, _file_name(*cell), n, partial(_read, scene, *cell))
    if not all(there(folder, _file_name(*cell), n) for cell in cells):
        return None
    rows, codes = [], codes_of(scene, n)
    for cell in cells:
        readings = kept(folder, _file_name(*cell), n, partial(_read, scene, *cell))
        rows.append({"suite": cell[0], "attack": cell[1], **rates(readings.final, codes, chosen)})
    facts = {"generator": scene.opened.manifest.generator.name, "bits": scene.subject.bits}
    result = {**identity(scene), **facts, **plan, "rows": rows}
    (workdir / "capacity.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _file_name(*parts: str) -> str:
    return re.sub(r"[^\w.-]+", "_", "-".join(parts))


def codes_of(scene: Scene, n: int, *, first: int = 0) -> Bool[np.ndarray, "n k"]:
    """Fair random codes of files number `first`, … ; file i has the same one for every n."""
    repeats = scene.opened.manifest.repeats
    drawn = [
        np.random.default_rng([scene.seed, i]).integers(2, size=scene.subject.bits // repeats)
        for i in range(first, first + n)
    ]
    return np.stack(drawn).astype(bool)


def rates(soft: Soft, codes: Bool[np.ndarray, "n k"], plan: Plan) -> dict[str, Any]:
    """Share of right bits, and of files whose user would be named among each number of users."""
    scores = (soft.astype(int) * (2 * codes.astype(int) - 1)).sum(axis=1)
    alone: Float[np.ndarray, " n"] = chance(soft, scores)
    named = {users: int((family_wise(alone, users=users) <= plan.alpha).sum()) for users in plan.users}
    return {
        "images": len(soft),
        "bit_accuracy": float(((soft > 0) == codes).mean()),
        "named": [
            {
                "users": users,
                "files": files,
                "share": files / len(soft),
                "interval": list(binomial_interval(files, len(soft))),
            }
            for users, files in named.items()
        ],
    }


def _read(scene: Scene, suite_name: str, attack: str, first: int, n: int) -> Readings:
    codes = codes_of(scene, n, first=first).repeat(scene.opened.manifest.repeats, axis=1)
    made = marked_images(scene.subject, codes, seed=scene.seed, first=first)
    files = through_files(made, attack_of(suite_name, attack), seed=scene.seed, first=first)
    return read(scene, Method.REFINE, files, label=f"{suite_name} {attack}", decided=explained, first=first)
