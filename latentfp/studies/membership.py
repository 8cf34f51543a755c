"""How files of every kind fare in the test whether they are one of the generator's, and what is said of them.

The deployment is attributed with as it is: it must have been calibrated, and have users, who made none of
the files.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentfp.data.files import write_image
from latentfp.deployment.calibration import null_of
from latentfp.deployment.deployment import load_generator
from latentfp.deployment.inquiry import Request, inquire
from latentfp.deployment.investigate import Finding
from latentfp.studies.negatives import draw
from latentfp.studies.scene import identity, open_scene


def run(
    *, deployment: str, images: Mapping[str, int], limits: Sequence[float], seed: int, workdir: Path
) -> dict[str, Any]:
    """Measure, and write membership.json. `images` of each kind of negatives.py, as PNG files in `workdir`.

    ValueError for a deployment that was not calibrated, or has no users.
    """
    scene = open_scene(deployment, seed=seed)
    null, loaded = null_of(scene.opened), load_generator(scene.opened)
    if null is None:
        raise ValueError(
            f"{deployment} is not calibrated: run `latentfp calibrate --deployment {deployment}`"
        )
    rows = {}
    for kind, n in images.items():
        folder = workdir / kind
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{i}.png" for i in range(n)]
        for path, image in zip(paths, draw(kind, scene, n, seed=seed), strict=True):
            write_image(path, image)
        rows[kind] = summary(list(inquire(scene.opened, loaded, paths, Request(seed=seed))), limits)
    facts = {**identity(scene), "own_images": len(null.misfits)}
    (workdir / "membership.json").write_text(json.dumps({**facts, "kinds": rows}, indent=1) + "\n")
    return {**facts, "kinds": rows}


def summary(findings: Sequence[Finding], limits: Sequence[float]) -> dict[str, Any]:
    """How many files were tested, had a p-value of at most each limit, and got which verdict."""
    tested = [it.membership for it in findings if it.membership is not None]
    below = {f"{limit:g}": sum(p <= limit for p in tested) for limit in limits}
    verdicts = dict(Counter(it.verdict for it in findings))
    return {"files": len(findings), "tested": len(tested), "at_most": below, "verdicts": verdicts}
