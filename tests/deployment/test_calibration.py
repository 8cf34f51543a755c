"""Calibration of a deployment to its own images, and what attribution makes of it."""

import json
import shutil
from itertools import product

import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import write_deployment
from small_decoder import small_decoder, write_decoder

from latentfp import rng
from latentfp.augment import damage
from latentfp.augment.suites import SUITES
from latentfp.choices import Method
from latentfp.data.files import write_image
from latentfp.deployment import attribute as attribution
from latentfp.deployment import calibration, decoders
from latentfp.deployment.attribute import Request
from latentfp.deployment.calibration import (
    FILE,
    Validation,
    attacked_images,
    calibrate,
    null_of,
    reference_images,
    validate,
)
from latentfp.deployment.deployment import load_generator, open_deployment
from latentfp.deployment.manifest import TamperedDeployment
from latentfp.fingerprint.basis import coordinates
from latentfp.pixels import to_float

IMAGES = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = write_deployment(tmp_path_factory.mktemp("calibration"), size=16)
    calibrate(path, images=IMAGES, seed=1)
    return path


@pytest.fixture
def opened(folder):
    return open_deployment(folder)


@pytest.fixture
def changed(folder):
    """The file of the null, which is restored."""
    before = (folder / FILE).read_bytes()
    yield folder / FILE
    (folder / FILE).write_bytes(before)


def test_reference_images_go_through_every_attack(opened):
    loaded = load_generator(opened)
    attacks = sum(map(len, SUITES.values()))
    made, codes = attacked_images(opened, loaded, images=attacks, seed=1)
    plain = reference_images(
        opened, loaded, images=attacks, seed=1, key=rng.stream(rng.root(1), "calibrate/images")
    )
    np.testing.assert_array_equal(codes, plain.codes)
    untouched = (np.stack(made) == plain.issued.marked).all(axis=(1, 2, 3))
    assert untouched.sum() >= len(SUITES) - 1  # what does nothing is in nearly all suites
    assert untouched.sum() < attacks / 4
    fewer, _ = attacked_images(opened, loaded, images=13, seed=1)
    np.testing.assert_array_equal(np.stack(made[:13]), np.stack(fewer))
    others, _ = attacked_images(opened, loaded, images=13, seed=2)
    assert (np.stack(fewer) != np.stack(others)).any(axis=(1, 2, 3)).all()


def test_the_null_is_that_of_the_deployment_and_its_decoder(folder, opened, tmp_path):
    null = null_of(opened)
    assert null is not None
    for values in (null.misfits, null.misses):
        assert len(values) == IMAGES
        assert (np.diff(values) >= 0).all()
    assert 0 < null.misses.max() <= 1
    decoders.adopt(opened, write_decoder(tmp_path / "decoder", opened))
    try:
        assert null_of(opened) is None
    finally:
        shutil.rmtree(folder / decoders.FOLDER)


def test_failed_estimates_count_as_the_worst(opened, changed):
    fields = json.loads(changed.read_text())
    changed.write_text(json.dumps({**fields, "failed": 2, "misfits": [1.0]}))
    null = null_of(opened)
    assert null is not None
    assert null.misfits.tolist() == [1.0, np.inf, np.inf]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"misfits": [1]}', '{"misfits": "x"}', "[" * 9999])
def test_damaged_nulls_are_refused(opened, changed, text):
    changed.write_text(text)
    with pytest.raises(TamperedDeployment, match=FILE):
        null_of(opened)


def test_numbers_that_are_none_are_refused(opened, changed):
    fields = json.loads(changed.read_text())
    for name, broken in product(("misfits", "misses"), ([], [float("inf")], [[1.0]], ["a"])):
        changed.write_text(json.dumps({**fields, name: broken}))
        with pytest.raises(TamperedDeployment, match=FILE):
            null_of(opened)


def test_another_deployments_null_does_not_count(opened, changed):
    changed.write_text(json.dumps({**json.loads(changed.read_text()), "deployment": "other"}))
    assert null_of(opened) is None


def test_too_few_images_are_refused(folder):
    with pytest.raises(ValueError, match="at least 20"):
        calibrate(folder, images=19, seed=0)


def attribute(folder, images, **asked):
    return list(attribution.attribute(folder, images, Request(**asked)))


def test_files_are_compared_with_attacked_images(folder, tmp_path):
    """Noise over the whole range is explained worse than all images of the generator."""
    noise = np.random.default_rng(0).integers(2, size=(16, 16, 3)).astype(np.uint8) * 255
    write_image(tmp_path / "noise.png", noise)
    (found,) = attribute(folder, [tmp_path / "noise.png"])
    assert found.membership == 1 / (IMAGES + 1)
    assert found.user is None
    (other,) = attribute(folder, [tmp_path / "noise.png"], method=Method.ENCODER)
    assert other.membership is None  # these run no descent
    larger = np.kron(noise, np.ones((2, 2, 1), np.uint8))
    (resampled,) = attribution.attribute(folder, larger, Request())
    assert resampled.membership is None  # own images were not resampled


@pytest.fixture(scope="module")
def strong(tmp_path_factory):
    return open_deployment(write_deployment(tmp_path_factory.mktemp("validation"), size=16, sigma=4.0))


@pytest.fixture(scope="module")
def bare(strong):
    """The generator without its encoder, which would read everything."""
    loaded = load_generator(strong)
    return loaded._replace(generator=loaded.generator._replace(encode=None))


@pytest.fixture
def without_encoder(monkeypatch, bare):
    monkeypatch.setattr(calibration, "load_generator", lambda _: bare)


def decoder(**stated):
    """An untrained decoder that states these strengths of damage of every image."""
    made = small_decoder(content=16, bits=32, iterations=1)
    harm = np.asarray(damage.coordinates(damage.Damage(**stated)))
    made.weights["move"]["bias"] = np.concatenate([np.zeros(16 + 32, np.float32), harm])
    return made


@pytest.mark.usefixtures("without_encoder")
class TestValidation:
    def test_a_decoder_that_only_knows_little_passes(self, strong):
        """It reads hardly a bit, but the descents from there explain every image."""
        found = validate(strong, decoder(), images=8)
        assert found.images == found.explained == 8
        assert found.passed
        assert 0.3 < found.read < 0.7
        assert found.descended == 1

    @pytest.mark.parametrize("stated", [{"blur": 2.0}, {"degrees": 20.0}, {"contrast": 0.5}])
    def test_one_that_sees_damage_where_there_is_none_fails(self, strong, stated):
        found = validate(strong, decoder(**stated), images=8)
        assert 2 * found.explained < 8  # descents correct some of the contrasts
        assert not found.passed

    def test_images_follow_from_the_seed(self, strong):
        one, again, other = (validate(strong, decoder(), images=8, seed=seed) for seed in (0, 0, 1))
        assert one == again
        assert one.read != other.read


def test_half_of_the_images_are_enough():
    assert Validation(16, 0.5, 0.9, explained=8).passed
    assert not Validation(16, 0.5, 0.9, explained=7).passed
    assert str(Validation(16, 0.5, 0.925, explained=8)) == (
        "50.0 % of bits read right, 92.5 % after a descent, which explains 8 of 16 undamaged images"
    )


def test_reference_images_bear_the_codes_that_they_are_said_to(strong):
    loaded = load_generator(strong)
    made = reference_images(strong, loaded, images=6, seed=1, key=rng.root(2))
    assert made.codes.shape == (6, 32)
    assert 0.3 < made.codes.mean() < 0.7
    assert (made.codes[0] != made.codes[1]).any()
    encode = loaded.generator.encode
    assert encode is not None
    for shown, marked in ((made.issued.marked, True), (made.issued.plain, False)):
        latents = encode(loaded.params, jnp.asarray(to_float(shown)))
        levels = np.stack([coordinates(strong.space, latent) for latent in latents])
        assert ((levels > 0) == made.codes).all() == marked
