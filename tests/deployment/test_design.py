"""What is usual for a generator, and what is given instead."""

import json

import pytest
from linear_space import write_generator

from latentfp.deployment import design, fitting
from latentfp.deployment.design import Design, complete
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
