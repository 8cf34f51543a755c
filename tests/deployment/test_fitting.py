"""From a generator's folder to a deployment."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import add_drawn, write_generator
from small_decoder import write_decoder

from latentfp import cli, rng
from latentfp.choices import Layout
from latentfp.deployment import decoders, fitting
from latentfp.deployment.constants import subject_in
from latentfp.deployment.copies import issue
from latentfp.deployment.deployment import BASIS, load_generator, open_deployment
from latentfp.fingerprint.basis import fit_channel_basis
from latentfp.generators import pretrained
from latentfp.generators.latent_diffusion import model as latent_diffusion
from latentfp.pixels import to_float


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return write_generator(tmp_path_factory.mktemp("fitting") / "generator", latent_dim=24, size=8)


CHANNELS = {"repeats": 3, "layout": "channels", "bits": 12, "shift": 6}


def fit(path, generator, **changed):
    usual = {"sigma": 1.0, "shift": 8, "bits": 16, "coding": "binary", "min_distance": None}
    return fitting.fit(path, generator=generator, **{**usual, "samples": 2000, "seed": 3, **changed})


def test_axes_are_those_of_the_prior(generator):
    """w ~ N(0, diag(scale²)): mean, axes and stds restore the covariance of 2000 samples, in float64."""
    loaded = pretrained.load(generator)
    basis = fitting.sample_basis(loaded, fitting.Sampling(2000, 3))
    keys = [rng.stream(rng.root(3), "basis", i) for i in (0, 1)]
    draws = [loaded.generator.sample(loaded.params, key, 1000) for key in keys]
    w = np.concatenate([np.asarray(draw, np.float64) for draw in draws])
    axes, stds = np.asarray(basis.axes, np.float64), np.asarray(basis.stds, np.float64)
    np.testing.assert_allclose(basis.mean, w.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(axes.T @ np.diag(stds**2) @ axes, np.cov(w, rowvar=False), atol=1e-6)


def test_a_large_latent_gets_the_axes_up_to_its_code_unless_told_otherwise(generator, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "MOST_DIMENSIONS", 23)
    made = fit(tmp_path / "large", generator, bits=4)
    assert made.basis.axes.shape == (8 + 4, 24)
    assert fit(tmp_path / "first", generator, bits=4, shift=0).basis.axes.shape == (5, 24)
    assert fit(tmp_path / "told", generator, bits=4, axes=14).basis.axes.shape == (14, 24)
    monkeypatch.setattr(fitting, "MOST_DIMENSIONS", 24)
    assert fit(tmp_path / "small", generator, bits=4).basis.axes.shape == (24, 24)


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
        ({"repeats": 3}, "got repeats 3, expected 1 or more that divide the 16 bits"),
        ({"repeats": 16}, "got 16 bits, expected at least 32"),
        ({"layout": "rows"}, "'rows' is not a valid Layout"),
        ({"layout": "channels"}, "has only one channel: choose the layout joint"),
        ({"generator": "nothing"}, "no generator 'nothing'"),
    ],
)
def test_a_wrong_request_leaves_nothing(generator, tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        fit(tmp_path / "deployment", **{"generator": generator, **changed})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"repeats": 3}, "repeats 3"),
        ({"layout": "rows"}, "rows"),
        ({"layout": "channels"}, "one channel"),
        ({"coding": "ternary"}, "ternary"),
        ({"samples": 0}, "0 samples cannot determine 24 principal axes: expected at least 25"),
        ({"samples": 24}, "24 samples cannot determine 24"),
        ({"samples": 30, "axes": 20}, None),
        ({"samples": 24, "axes": 20}, "24 samples cannot determine 20 principal axes: expected at least 25"),
        ({"axes": 25}, "a latent of 24 numbers has no 25 axes"),
        ({"axes": 20}, "axes 8 … 23 are not all among the 20"),
        ({"bits": 24, "shift": 0}, "a code of 24 bits does not fit 24 axes"),
        ({"shift": 9}, "change `shift`"),
        ({"sigma": float("nan")}, "sigma nan"),
        ({"sigma": 0.0}, "sigma 0"),
        ({"min_distance": 17}, "min_distance 17"),
        ({"seed": 2**64}, "seed 18446744073709551616"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_limits_are_checked_before_sampling(generator, tmp_path, monkeypatch, changed, message):
    def sample(*_):
        raise AssertionError("sampled")

    monkeypatch.setattr(fitting, "track", sample)
    if message is None:
        with pytest.raises(AssertionError, match="sampled"):
            fit(tmp_path / "deployment", generator, **{"bits": 4, "shift": 0, **changed})
        return
    with pytest.raises(ValueError, match=message):
        fit(tmp_path / "deployment", generator, **changed)
    assert list(tmp_path.iterdir()) == []


class TestBundle:
    """A copy of the generator goes with the deployment."""

    def test_a_folder_that_is_copied_elsewhere_answers_the_same(self, tmp_path, capsys):
        home = tmp_path / "here"
        generator = write_generator(home / "generator", latent_dim=48, size=8)
        made = fit(home / "deployment", generator, shift=16, bits=32, coding="antipodal", samples=1000)
        add_drawn(made.registry, ["alice", "bob"], seed=1)
        images = tmp_path / "images"
        request = ["generate", "--deployment", str(made.path), "--user", "bob", "--count", "2", "--seed", "3"]
        cli.app([*request, "--out", str(images)], standalone_mode=False)
        before = self.attributed(made.path, images, capsys)
        shutil.copytree(made.path, tmp_path / "there")
        shutil.rmtree(home)
        after = self.attributed(tmp_path / "there", images, capsys)
        assert [row["user"] for row in before] == ["bob", "bob"]
        assert after == before

    def attributed(self, deployment, images, capsys):
        capsys.readouterr()
        cli.app(["attribute", "--deployment", str(deployment), "--json", str(images)], standalone_mode=False)
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]

    def test_as_asked_and_by_size(self, generator, tmp_path, monkeypatch):
        assert (fit(tmp_path / "small", generator).path / "generator").is_dir()
        assert not (fit(tmp_path / "none", generator, bundle=False).path / "generator").exists()
        monkeypatch.setattr(fitting, "BUNDLED", 10)
        assert not (fit(tmp_path / "large", generator).path / "generator").exists()
        assert (fit(tmp_path / "asked", generator, bundle=True).path / "generator").is_dir()

    def test_one_of_your_own_is_no_folder(self, generator, tmp_path):
        loaded = pretrained.load(generator)
        pair = (loaded.generator, loaded.params)
        with pytest.raises(ValueError, match="linear is a generator of your own, not a folder"):
            fit(tmp_path / "deployment", pair, bundle=True)
        made = fit(tmp_path / "deployment", pair)
        assert load_generator(made).identity == pretrained.load(pair).identity
        with pytest.raises(ValueError, match="say where it lies with --generator"):
            load_generator(open_deployment(made.path))
        again = load_generator(open_deployment(made.path, generator=pair))
        assert again.identity == load_generator(made).identity


class TestChannels:
    """The linear generator with a latent that counts as three channels of 8 numbers."""

    @pytest.fixture(autouse=True)
    def three_channels(self, monkeypatch):
        load = pretrained.load

        def load_in_channels(name):
            loaded = load(name)
            return loaded._replace(generator=loaded.generator._replace(channels=3))

        monkeypatch.setattr(pretrained, "load", load_in_channels)

    def test_the_basis_is_that_of_the_channels(self, generator, tmp_path):
        made = fit(tmp_path / "deployment", generator, **CHANNELS)
        assert (made.manifest.repeats, made.manifest.layout) == (3, Layout.CHANNELS)
        assert made.manifest.min_distance == 3  # a quarter of the bits of a code
        loaded = pretrained.load(generator)
        keys = [rng.stream(rng.root(3), "basis", i) for i in (0, 1)]
        w = np.concatenate([loaded.generator.sample(loaded.params, key, 1000) for key in keys])
        for found, expected in zip(made.basis, fit_channel_basis(w, channels=3), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5)
        other = fit(tmp_path / "other", generator, bits=12, shift=6)
        assert decoders.belonging(other)["basis"] != decoders.belonging(made)["basis"]

    @pytest.mark.parametrize("coding", ["antipodal", "binary"])
    @pytest.mark.parametrize("layout", ["channels", "joint"])
    def test_repeated_codes_are_read_from_images(self, generator, tmp_path, key, layout, coding):
        path = tmp_path / "deployment"
        fit(path, generator, **{**CHANNELS, "layout": layout, "coding": coding})
        opened = open_deployment(path)
        opened.registry.add(["alice", "bob", "carol"])
        _, codes = opened.registry.codes()
        np.testing.assert_array_equal(codes, codes[:, ::3].repeat(3, axis=1))
        model, params, *_ = load_generator(opened)
        coded = opened.manifest.coding
        images = issue(subject_in(opened, load_generator(opened)), codes, key=key).marked
        assert model.encode is not None
        w = np.asarray(model.encode(params, jnp.asarray(to_float(images))), np.float64)
        marks = (w - np.asarray(opened.space.mean)) @ np.asarray(opened.space.code_axes, np.float64).T
        np.testing.assert_array_equal(marks > 0.5 - coded.offset, codes)

    def test_on_the_command_line(self, generator, tmp_path):
        path = str(tmp_path / "deployment")
        request = ["fit", "--out", path, "--generator", generator, "--samples", "1000", "--sigma", "1"]
        layout = ["--repeats", "3", "--layout", "channels", "--bits", "12", "--shift", "6"]
        cli.app([*request, *layout], standalone_mode=False)
        cli.app(["users", "add", "--deployment", path, "alice", "bob"], standalone_mode=False)
        opened = open_deployment(path)
        _, codes = opened.registry.codes()
        assert opened.manifest.layout is Layout.CHANNELS
        assert codes.shape == (2, 12)
        np.testing.assert_array_equal(codes, codes[:, ::3].repeat(3, axis=1))


def test_channels_of_a_latent_diffusion_are_those_of_its_latent_map():
    """Two channels of 4 × 4 numbers: every axis is zero on all pixels of the other channel."""
    model = latent_diffusion.make(
        size=8,
        first_stage={"channels": [4, 4], "blocks": 1, "latent": 2, "groups": 2},
        denoiser={"channels": [4, 8], "blocks": 1, "attention": [], "head": 4, "groups": 2},
        scale=1.0,
    )
    w = np.random.default_rng(7).normal(size=(100, model.latent_dim))
    maps = latent_diffusion.unflatten(fit_channel_basis(w, channels=model.channels).axes, (4, 4, 2))
    reached = np.abs(maps).max(axis=(1, 2)) > 0
    np.testing.assert_array_equal(reached, np.tile(np.eye(2, dtype=bool), (16, 1)))


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
            patch.setattr(fitting, "USUAL", fitting.Sampling(2000, 3))
            write_generator(weights / "tiny", latent_dim=24, size=16)
            made = fit(weights / "deployment", "tiny")
            assert decoders.find(made) is None
            folder = write_decoder(weights / "tiny/decoder", made)
            shutil.copy(made.path / BASIS, folder.parent / BASIS)
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
        assert (made.path / BASIS).read_bytes() == (package.parent / BASIS).read_bytes()
        repeated = fit(tmp_path / "repeated", "tiny", repeats=4)
        assert (repeated.path / BASIS).read_bytes() == (package.parent / BASIS).read_bytes()
        assert decoders.find(repeated) is not None
        other = fit(tmp_path / "other", "tiny", samples=1000)
        assert (other.path / BASIS).read_bytes() != (package.parent / BASIS).read_bytes()

    def test_the_shipped_basis_is_for_the_joint_layout_only(self, package, tmp_path, monkeypatch):
        loaded = pretrained.load("tiny")
        loaded = loaded._replace(generator=loaded.generator._replace(channels=3))
        monkeypatch.setattr(pretrained, "load", lambda _: loaded)
        made = fit(tmp_path / "deployment", "tiny", layout="channels")
        assert (made.path / BASIS).read_bytes() != (package.parent / BASIS).read_bytes()
        assert decoders.find(made) is None

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
    assert (found.decoder.content, found.decoder.bits, found.iterations) == (448, 64, 3)
