"""Designs for a linear generator: what they promise is what a search reads, and nothing cheaper does it."""

import json
from typing import Any

import numpy as np
import pytest
from linear_space import write_generator
from typer.testing import CliRunner

from latentfp import cli
from latentfp.deployment import designing, fitting
from latentfp.deployment.deployment import open_deployment
from latentfp.fingerprint.sensitivity import Marking
from latentfp.generators import pretrained


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return write_generator(tmp_path_factory.mktemp("designing") / "generator", latent_dim=24, size=8)


@pytest.fixture(scope="module")
def survey(generator):
    loaded = pretrained.load(generator)
    basis = fitting.sample_basis(loaded, fitting.Sampling(2000, 0))
    return designing.survey(loaded, basis, ("none", "noise", "jpeg"), samples=3, seed=0)


def test_the_target_is_met_and_not_overshot(survey):
    found = designing.choose(survey, target=0.9, lengths=[8])
    assert len(found.axes) == 8
    np.testing.assert_allclose(min(found.accuracy.values()), 0.9, atol=1e-6)
    assert found.accuracy["none"] > 0.999, "noise and JPEG are what is to be survived"


def test_no_window_is_less_visible(survey):
    found = designing.choose(survey, target=0.9, lengths=[8])
    others = [designing.at_target(survey, tuple(range(i, i + 8)), target=0.9) for i in range(17)]
    assert found.psnr >= max(other.psnr for other in others if other is not None)


def test_a_linear_generator_of_orthonormal_columns_leaves_no_axis_better_than_another(survey):
    """Under noise all axes are as visible and as sure: only their own variance, which is lost, counts."""
    only = survey._replace(known={"noise": survey.known["noise"]})
    found = designing.choose(only, target=0.9, lengths=[8])
    assert set(found.axes) == set(range(16, 24))


def test_shorter_codes_are_less_visible_so_the_shortest_that_serves_is_taken(survey):
    assert len(designing.choose(survey, target=0.9, lengths=[12, 6]).axes) == 6


def test_what_cannot_be_reached_is_said(survey, monkeypatch):
    monkeypatch.setattr(designing, "STRONGEST", 1e-5)
    with pytest.raises(ValueError, match=r"still to be seen.*none, noise, jpeg"):
        designing.choose(survey, target=0.9, lengths=[20])
    with pytest.raises(ValueError, match=r"between 0\.5 and 1"):
        designing.design("avatars", target=0.4, attacks="none", bits=[8], samples=1, seed=0)
    with pytest.raises(ValueError, match=r"'fog'.*blur"):
        designing.attack_names("noise,fog")


def test_a_prediction_of_more_strength_is_more_accurate_and_more_visible(survey):
    weak, strong = (designing.predict(survey, Marking(range(8), sigma)) for sigma in (0.2, 0.4))
    assert strong.accuracy["noise"] > weak.accuracy["noise"]
    assert strong.psnr < weak.psnr


def test_lengths_follow_from_users():
    assert designing.lengths_for(1000, alpha=1e-6, target=0.999) == [64, 128, 256]
    assert designing.lengths_for(1000, alpha=1e-6, target=0.85) == [256]
    with pytest.raises(ValueError, match=r"32 bits cannot serve.*256 bits tolerate"):
        designing.lengths_for(10**6, alpha=1e-6, target=0.6)


def test_the_file_of_a_design_makes_a_deployment(generator, survey, tmp_path):
    path = tmp_path / "design.json"
    designing.write(path, designing.choose(survey, target=0.9, lengths=[8]))
    axes = json.loads(path.read_text())["axes"]
    made = fitting.fit(tmp_path / "made", generator=generator, design=path)
    usual = fitting.fit(tmp_path / "usual", generator=generator, sigma=1.0, bits=8, shift=16)
    assert made.manifest.bits == 8
    assert made.manifest.sigma == pytest.approx(json.loads(path.read_text())["sigma"])
    np.testing.assert_array_equal(made.space.code_axes, usual.basis.axes[np.asarray(axes)])
    again = open_deployment(tmp_path / "made")
    np.testing.assert_array_equal(again.space.code_axes, made.space.code_axes)
    both: list[dict[str, Any]] = [{"sigma": 1.0}, {"samples": 2000}, {"seed": 1}]
    for said in both:
        with pytest.raises(ValueError, match="leave them out"):
            fitting.fit(tmp_path / "both", generator=generator, design=path, **said)
    with pytest.raises(ValueError, match="not for avatars"):
        fitting.fit(tmp_path / "other", generator="avatars", design=path)
    path.write_text("[1]")
    with pytest.raises(ValueError, match="not a file of"):
        fitting.fit(tmp_path / "broken", generator=generator, design=path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["design.json", "made", "usual"]


def test_the_command(generator, tmp_path):
    out = tmp_path / "design.json"
    options = ["--generator", str(generator), "--attack", "noise", "--bits", "8", "--samples", "2"]
    result = CliRunner().invoke(cli.app, ["design", "--out", str(out), "--target-accuracy", "0.9", *options])
    assert result.exit_code == 0, result.output
    assert "8 bits, sigma" in result.output
    assert "noise 90.0%" in result.output
    assert len(json.loads(out.read_text())["axes"]) == 8
