"""What copies betray, on a random StyleGAN2 where it is known."""

import json

import numpy as np
import pytest
import small_study
from random_stylegan2 import fit_random_stylegan2

from latentfp.deployment import secret as secrets
from latentfp.studies import white_box

PLAN = {"users": 20, "images": 6, "samples": 5000, "alpha": 0.01}

pytestmark = pytest.mark.slow  # a whole deployment of StyleGAN2 copies


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return fit_random_stylegan2(tmp_path_factory.mktemp("white_box"))


def study(deployment, workdir):
    settings = white_box.Settings(deployment=str(deployment.path), **PLAN)
    return small_study.run(white_box, settings, workdir, seed=1)


@pytest.fixture(scope="module")
def measured(plain, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("measured")
    found = study(plain, workdir)
    assert json.loads((workdir / "tiny.json").read_text()) == found
    return found


@pytest.mark.slow
def test_the_span_of_the_axes_is_the_null_space(measured):
    assert measured["re-estimation"]["largest_angle_of_the_span_degrees"] < 0.1


def test_nothing_else_is_in_the_null_space(plain):
    context = white_box.open_context(str(plain.path), seed=0)
    found = white_box.null_space(context.subject.params, context.subject.bits)
    axes = np.asarray(context.subject.space.code_axes)
    assert np.abs(np.linalg.svd(found @ axes.T)[1]).min() < 0.9  # before a code is built in, it is another


def test_axes_of_bits_are_recognised_unless_a_secret_turns_them(measured, tmp_path, monkeypatch):
    assert measured["re-estimation"]["bits"] == 16
    assert measured["re-estimation"]["samples_of_the_usual_seed"]["bits_recognised"] == 16
    assert 8 <= measured["re-estimation"]["other_samples"]["bits_recognised"] <= 16
    file = tmp_path / "secret"
    turned = fit_random_stylegan2(tmp_path, secret=file)
    monkeypatch.setenv(secrets.VARIABLE, str(file))
    found = study(turned, tmp_path / "out")
    assert found["re-estimation"]["largest_angle_of_the_span_degrees"] < 0.1
    for samples in ("samples_of_the_usual_seed", "other_samples"):
        assert found["re-estimation"][samples]["bits_recognised"] == 0


def test_every_averaged_image_is_counted_once(measured):
    found = measured["averaging"]
    named = [found[f"named_{who}"] for who in ("first", "second", "nobody", "innocent")]
    assert sum(named) == found["images"] == 6
    assert 0 < found["bits_in_which_they_agree"] < 16
    assert found["bits_right_where_they_agree"] > 0.9
