"""The collusion study on a linear generator: all is read once, guilty found, nobody else accused."""

import json

import numpy as np
import pytest
import small_study
from linear_space import write_deployment

from latentfp.studies import collusion
from latentfp.studies.collusion import Settings, judged

PLAN = {
    "colluders": (2,),
    "collusions": ("mean", "latents"),
    "coalitions": 3,
    "files": 2,
    "users": 10,
    "registries": 4,
    "alphas": (0.05, 1e-6),
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("collusion")
    settings = Settings(deployment=str(write_deployment(folder, sigma=0.5)), **PLAN)
    return settings, folder / "study", small_study.run(collusion, settings, folder / "study", seed=3)


def test_averaging_images_is_averaging_copies_where_all_is_linear(measured):
    rows = {(row["collusion"], row["files"]): row["promised"] for row in measured[2]["rows"]}
    assert set(rows) == {(name, files) for name in ("mean", "latents") for files in (1, 2)}
    for promised in rows.values():
        assert promised["0.05"]["traced"] == 3
        assert promised["1e-06"]["traced"] <= 3
    assert all(row["trials"] == 12 for row in measured[2]["rows"])


def test_a_killed_study_goes_on_and_writes_what_it_says(measured, monkeypatch):
    given, workdir, result = measured
    monkeypatch.setattr(collusion, "answers", None)
    assert small_study.run(collusion, given, workdir, seed=3) == result
    assert json.loads((workdir / "tiny.json").read_text())["bits"] == 32


def test_guilty_and_innocents_are_told_apart():
    """Levels of the first coalition's own mean code; those of nobody for the second."""
    random = np.random.default_rng(0)
    codes = random.integers(2, size=(2, 2, 64)).astype(bool)
    codes[0, 1] = codes[0, 0]
    codes[0, 1, ::4] ^= True
    levels = np.stack([2 * codes[0].mean(axis=0) - 1, random.choice([-1.0, 1.0], 64)])[:, None]
    settings = Settings("", (2,), ("mean",), 2, 1, 50, 20, (1e-6, 0.999))
    found = judged(levels, codes, settings, seed=0)["promised"]
    assert found["1e-06"] == {
        "traced": 1, "interval": found["1e-06"]["interval"], "mean_traced": 1.0, "trials_with_innocent": 0,
    }  # fmt: skip
    assert found["0.999"]["trials_with_innocent"] > 0, "who accuses at any price accuses innocents"
