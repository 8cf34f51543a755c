"""The study of membership on a calibrated linear generator."""

import json

import pytest
import small_study
from linear_space import write_deployment

from latentfp.deployment.calibration import calibrate
from latentfp.studies import membership


def test_noise_is_told_from_reference_images(tmp_path):
    folder = write_deployment(tmp_path, size=16)
    plan = {
        "deployment": str(folder),
        "images": {"unmarked": 3, "noise": 3},
        "limits": (0.2, 1.0),  # a fifth of the references fit as badly, for attacks that no fit knows
    }
    settings = membership.Settings(**plan)
    with pytest.raises(ValueError, match="not calibrated"):
        small_study.run(membership, settings, tmp_path / "study", seed=2)
    calibrate(folder, images=24, seed=1)
    result = small_study.run(membership, settings, tmp_path / "study", seed=2)
    assert json.loads((tmp_path / "study/tiny.json").read_text()) == result
    assert result["reference_images"] == 24
    own, noise = result["kinds"]["unmarked"], result["kinds"]["noise"]
    assert (own["files"], own["tested"], own["at_most"]["1"]) == (3, 3, 3)
    assert own["at_most"]["0.2"] == 0
    assert noise["at_most"]["0.2"] > 0
    assert sum(noise["verdicts"].values()) == 3
