"""Where a code goes: what is usual for a generator, what is given instead, and what a prediction chooses.

Designs for a linear generator: what they promise is what a search reads, and nothing cheaper does it.
"""

import json
import shutil
from typing import Any

import numpy as np
import pytest
from linear_space import write_generator
from typer.testing import CliRunner

from latentfp import cli
from latentfp.deployment import design, fitting
from latentfp.deployment.deployment import open_deployment
from latentfp.deployment.design import Design, complete
from latentfp.fingerprint.sensitivity import Marking
from latentfp.generators import pretrained


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A shipped generator with a design, and one without."""
    monkeypatch.setattr(pretrained, "SHIPPED", tmp_path)
    for name in ("tiny", "plain"):
        write_generator(tmp_path / name, latent_dim=90, size=8)
    (tmp_path / "tiny" / design.FILE).write_text(json.dumps({"sigma": 0.5, "shift": 3, "bits": 16}))
    return pretrained.load("tiny"), pretrained.load("plain")


def test_nothing_given_is_the_usual(shipped):
    assert complete(shipped[0], sigma=None, shift=None, bits=None) == Design(0.5, 3, 16)


def test_what_is_given_comes_first(shipped):
    assert complete(shipped[0], sigma=2.0, shift=0, bits=8) == Design(2.0, 0, 8)


def test_other_generators_get_their_last_axes_and_must_be_told_the_strength(shipped):
    assert complete(shipped[1], sigma=1.0, shift=None, bits=None) == Design(1.0, 90 - 64, 64)
    assert complete(shipped[1], sigma=1.0, shift=None, bits=8) == Design(1.0, 82, 8)
    with pytest.raises(ValueError, match="no strength is usual for plain: give one with --sigma"):
        complete(shipped[1], sigma=None, shift=0, bits=8)


def test_a_folder_of_the_same_name_has_no_usual_design(shipped, tmp_path):
    loaded = shipped[0]._replace(name=str(tmp_path / "tiny"))
    with pytest.raises(ValueError, match="give one with --sigma"):
        complete(loaded, sigma=None, shift=None, bits=None)


@pytest.mark.parametrize("name", pretrained.shipped())
def test_every_shipped_generator_has_one_that_fits(name):
    loaded = pretrained.load(name)
    found = complete(loaded, sigma=None, shift=None, bits=None)
    assert found.sigma > 0
    assert found.shift + found.bits <= loaded.generator.latent_dim


def test_fit_asks_for_it(shipped, tmp_path):
    made = fitting.fit(tmp_path / "made", generator=shipped[0].name, samples=1000)
    assert (made.manifest.sigma, made.manifest.shift, made.manifest.bits) == (0.5, 3, 16)


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return write_generator(tmp_path_factory.mktemp("design") / "generator", latent_dim=24, size=8)


@pytest.fixture(scope="module")
def fitted(generator):
    """The generator and its basis."""
    loaded = pretrained.load(generator)
    return loaded, fitting.sample_basis(loaded, fitting.Sampling(2000, 0))


@pytest.fixture(scope="module")
def survey(fitted):
    loaded, basis = fitted
    return design.survey(loaded, basis, ("none", "noise", "jpeg"), samples=3, seed=0)


def test_the_target_is_met_and_not_overshot(survey):
    found = design.choose(survey, target=0.9, lengths=[8])
    assert len(found.axes) == 8
    np.testing.assert_allclose(min(found.accuracy.values()), 0.9, atol=1e-6)
    assert found.accuracy["none"] > 0.999, "noise and JPEG are what is to be survived"


def test_no_window_is_less_visible(survey):
    found = design.choose(survey, target=0.9, lengths=[8])
    others = [design.at_target(survey, tuple(range(i, i + 8)), target=0.9) for i in range(17)]
    assert found.psnr >= max(other.psnr for other in others if other is not None)


def test_a_linear_generator_of_orthonormal_columns_leaves_no_axis_better_than_another(survey):
    """Under noise all axes are as visible and as sure: only their own variance, which is lost, counts."""
    only = survey._replace(known={"noise": survey.known["noise"]})
    found = design.choose(only, target=0.9, lengths=[8])
    assert set(found.axes) == set(range(16, 24))


def test_shorter_codes_are_less_visible_so_the_shortest_that_serves_is_taken(survey):
    assert len(design.choose(survey, target=0.9, lengths=[12, 6]).axes) == 6


def test_what_cannot_be_reached_is_said(fitted, survey, monkeypatch):
    monkeypatch.setattr(design, "STRONGEST", 1e-5)
    with pytest.raises(ValueError, match=r"still to be seen.*none, noise, jpeg"):
        design.choose(survey, target=0.9, lengths=[20])
    with pytest.raises(ValueError, match=r"between 0\.5 and 1"):
        design.design(*fitted, target=0.4, attacks="none", bits=[8], samples=1, seed=0)
    with pytest.raises(ValueError, match=r"'fog'.*blur"):
        design.attack_names("noise,fog")


def test_a_prediction_of_more_strength_is_more_accurate_and_more_visible(survey):
    weak, strong = (design.predict(survey, Marking(range(8), sigma)) for sigma in (0.2, 0.4))
    assert strong.accuracy["noise"] > weak.accuracy["noise"]
    assert strong.psnr < weak.psnr


def test_lengths_follow_from_users():
    assert design.lengths_for(1000, alpha=1e-6, target=0.999) == [64, 128, 256]
    assert design.lengths_for(1000, alpha=1e-6, target=0.85) == [256]
    with pytest.raises(ValueError, match=r"32 bits cannot serve.*256 bits tolerate"):
        design.lengths_for(10**6, alpha=1e-6, target=0.6)


def test_the_file_of_a_design_makes_a_deployment(generator, survey, tmp_path):
    path = tmp_path / "design.json"
    design.write(path, design.choose(survey, target=0.9, lengths=[8]))
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
    with pytest.raises(ValueError, match=r"a design for another generator: found .*expected .*avatars"):
        fitting.fit(tmp_path / "other", generator="avatars", design=path)
    moved = shutil.copytree(generator, tmp_path / "moved")
    there = fitting.fit(tmp_path / "there", generator=moved, design=path)
    np.testing.assert_array_equal(there.space.code_axes, made.space.code_axes)
    path.write_text("[1]")
    with pytest.raises(ValueError, match="not a file of"):
        fitting.fit(tmp_path / "broken", generator=generator, design=path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["design.json", "made", "moved", "there", "usual"]


def test_the_command(generator, tmp_path):
    out = tmp_path / "design.json"
    options = ["--generator", str(generator), "--attack", "noise", "--bits", "8", "--samples", "2"]
    result = CliRunner().invoke(cli.app, ["design", "--out", str(out), "--target-accuracy", "0.9", *options])
    assert result.exit_code == 0, result.output
    assert "8 bits, sigma" in result.output
    assert "noise 90.0%" in result.output
    assert len(json.loads(out.read_text())["axes"]) == 8
