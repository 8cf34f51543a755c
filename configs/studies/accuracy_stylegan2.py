"""Accuracy on the embedded StyleGAN2 around the paper's setting: sigma 1, shift 448, 64 bits in {0, 1}.

Run: python -m latentfp.main --config=configs/studies/accuracy_stylegan2.py:METHOD --workdir=DIR
METHOD: paper      the full search, 20 starts x 2000 steps, 5 clean images
        reference  the same search with 1 start x 500 steps that anneal as far, 20 images a cell
        refine     damped Gauss-Newton, 3 starts x 36 steps, 20 images a cell
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base
from latentfp.report.accuracy import write_accuracy
from latentfp.studies import accuracy

BUDGETS = {
    "paper": ("reference", 20, 2000, 5),
    "reference": ("reference", 1, 500, 20),
    "refine": ("multistart", 3, 36, 20),
}
ATTACKS = ("blur", "noise", "jpeg", "combination", "crop")


def get_config(budget: str = "refine") -> ConfigDict:
    """`budget`: one of BUDGETS."""
    method, starts, steps, images = BUDGETS[budget]

    def cell(group: str, value: str, **changed: Any) -> dict[str, Any]:
        quality = 2000 if group != "attack" and budget == "refine" else 0
        usual = {"sigma": 1.0, "shift": 448, "attack": "none", "frechet_images": quality}
        fixed = {"method": method, "starts": starts, "steps": steps, "images": images}
        chosen = {"make": accuracy.Cell, **usual, **fixed, **changed}
        return {"make": accuracy.Entry, "group": group, "value": value, "cell": chosen}

    cells = [cell("paper", "sigma 1, shift 448, clean")]
    if budget != "paper":
        cells += [cell("sigma", str(s), sigma=s) for s in (0.2, 0.5, 1.0, 2.0, 6.0)]
        cells += [cell("shift", str(s), shift=s) for s in (0, 224, 448)]
        cells += [cell("attack", a, attack=a) for a in ATTACKS]
    config = base.study_config(accuracy.measure, write_accuracy)
    config.stream = "tune"
    config.name = f"accuracy_stylegan2_{budget}"
    config.title = f"Accuracy on the embedded StyleGAN2: {method}, {starts} starts x {steps} steps"
    config.study = ConfigDict(
        {
            "make": accuracy.Settings,
            "generator": "avatars",
            "samples": 10_000,
            "bits": 64,
            "coding": "binary",
            "entries": cells,
        }
    )
    return config
