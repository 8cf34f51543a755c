"""From a generator's folder to a deployment."""

import shutil

import numpy as np
import pytest
from linear_space import write_generator
from small_decoder import write_decoder

from latentfp import rng
from latentfp.deployment import decoders, fitting
from latentfp.deployment.deployment import BASIS
from latentfp.generators import pretrained


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return write_generator(tmp_path_factory.mktemp("fitting") / "generator", latent_dim=24, size=8)


def fit(path, generator, **changed):
    usual = {"sigma": 1.0, "shift": 8, "bits": 16, "coding": "binary", "min_distance": None}
    return fitting.fit(path, generator=generator, **{**usual, "samples": 2000, "seed": 3, **changed})


def test_axes_are_those_of_the_prior(generator):
    """w ~ N(0, diag(scale²)): mean, axes and stds restore the covariance of 2000 samples, in float64."""
    loaded = pretrained.load(generator)
    basis = fitting.sample_basis(loaded, samples=2000, seed=3)
    keys = [rng.stream(rng.root(3), "basis", i) for i in (0, 1)]
    draws = [loaded.generator.sample(loaded.params, key, 1000) for key in keys]
    w = np.concatenate([np.asarray(draw, np.float64) for draw in draws])
    axes, stds = np.asarray(basis.axes, np.float64), np.asarray(basis.stds, np.float64)
    np.testing.assert_allclose(basis.mean, w.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(axes.T @ np.diag(stds**2) @ axes, np.cov(w, rowvar=False), atol=1e-6)


def test_a_deployment_says_what_it_was_made_of(generator, tmp_path):
    made = fit(tmp_path / "deployment", generator)
    facts = (made.manifest.sigma, made.manifest.shift, made.manifest.bits, made.manifest.coding.value)
    assert facts == (1.0, 8, 16, "binary")
    assert made.manifest.generator.name == generator
    assert made.manifest.min_distance == 4  # a quarter
    assert made.registry.users() == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"samples": 1500}, "multiple of 1000"),
        ({"samples": 20}, "principal axes"),
        ({"shift": 9}, "change `shift`"),
        ({"coding": "ternary"}, "ternary"),
        ({"generator": "nothing"}, "no generator 'nothing'"),
    ],
)
def test_a_wrong_request_leaves_nothing(generator, tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        fit(tmp_path / "deployment", **{"generator": generator, **changed})
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(generator, tmp_path):
    with pytest.raises(ValueError, match="overwrites nothing"):
        fit(tmp_path, generator)


class TestShippedDecoder:
    """A generator of the package, called `tiny`, that comes with a decoder and that decoder's basis."""

    @pytest.fixture(scope="class")
    def package(self, tmp_path_factory):
        weights = tmp_path_factory.mktemp("weights")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pretrained, "SHIPPED", weights)
            patch.setattr(fitting, "USUAL_SAMPLES", 2000)
            patch.setattr(fitting, "USUAL_SEED", 3)
            write_generator(weights / "tiny", latent_dim=24, size=16)
            made = fit(weights / "deployment", "tiny")
            assert decoders.find(made) is None
            folder = write_decoder(weights / "tiny/decoder", made)
            shutil.copy(made.path / BASIS, folder / BASIS)
            yield folder

    def test_comes_with_the_deployment_that_it_belongs_to(self, package, tmp_path):
        made = fit(tmp_path / "deployment", "tiny")
        found = decoders.find(made)
        assert found is not None
        assert found.sha256 == decoders.sha256((package / decoders.WEIGHTS).read_bytes())

    @pytest.mark.parametrize("changed", [{"sigma": 2.0}, {"shift": 7}, {"coding": "antipodal"}, {"seed": 4}])
    def test_does_not_come_with_any_other(self, package, tmp_path, changed):
        assert package.is_dir()
        made = fit(tmp_path / "deployment", "tiny", **changed)
        assert decoders.find(made) is None

    def test_the_usual_basis_is_the_shipped_one_to_the_bit(self, package, tmp_path):
        made = fit(tmp_path / "deployment", "tiny")
        assert (made.path / BASIS).read_bytes() == (package / BASIS).read_bytes()
        other = fit(tmp_path / "other", "tiny", samples=1000)
        assert (other.path / BASIS).read_bytes() != (package / BASIS).read_bytes()

    def test_a_generator_in_a_folder_has_none(self, package, generator):
        assert decoders.shipped("tiny") == package
        assert decoders.shipped(generator) is None
        assert decoders.shipped(str(package.parent)) is None


def test_the_embedded_generator_comes_with_its_decoder(tmp_path):
    """The usual deployment of `latentfp fit`, on whatever machine."""
    made = fitting.fit(
        tmp_path / "deployment",
        generator="avatars",
        sigma=2.0,
        shift=448,
        bits=64,
        coding="antipodal",
        min_distance=None,
        samples=10_000,
        seed=0,
    )
    found = decoders.find(made)
    assert found is not None
    assert (found.decoder.content, found.decoder.bits, found.looks) == (448, 64, 3)
