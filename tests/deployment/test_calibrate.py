"""Calibration of a deployment to its own images, and what attribution makes of it."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import write_deployment
from small_decoder import write_decoder

from latentfp.augment.suites import suite
from latentfp.choices import Method
from latentfp.data.files import write_image
from latentfp.deployment import calibration, decoders, inquiry
from latentfp.deployment.calibration import FILE, calibrate, null_of, own_images
from latentfp.deployment.deployment import load_generator, open_deployment
from latentfp.deployment.inquiry import Request
from latentfp.deployment.manifest import TamperedDeployment
from latentfp.fingerprint.basis import coordinates
from latentfp.pixels import to_float

pytestmark = pytest.mark.usefixtures("quick_compile")
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


def test_odd_images_bear_codes(opened, monkeypatch):
    monkeypatch.setattr(calibration, "suite", lambda name: suite(name)[:1])  # the attack that does nothing
    loaded = load_generator(opened)
    encode = loaded.generator.encode
    assert encode is not None
    made = np.stack(own_images(opened, loaded, images=6, seed=1))
    latents = encode(loaded.params, jnp.asarray(to_float(made)))
    levels = np.abs(np.stack([coordinates(opened.space, w) for w in latents]) / opened.manifest.sigma)
    marked = np.abs(levels - 0.5).max(axis=1) < 0.2
    assert marked.tolist() == [False, True] * 3


def test_own_images_are_attacked_in_turn(opened):
    loaded = load_generator(opened)
    made = np.stack(own_images(opened, loaded, images=14, seed=1))
    assert made.shape == (14, 16, 16, 3)
    np.testing.assert_array_equal(made[:13], np.stack(own_images(opened, loaded, images=13, seed=1)))
    assert (made != np.stack(own_images(opened, loaded, images=14, seed=2))).any(axis=(1, 2, 3)).all()


def test_the_null_is_that_of_the_deployment_and_its_decoder(folder, opened, tmp_path):
    null = null_of(opened)
    assert null is not None
    assert len(null.misfits) == IMAGES
    assert (np.diff(null.misfits) >= 0).all()
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


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"misfits": [1]}', '{"misfits": "x"}'])
def test_damaged_nulls_are_refused(opened, changed, text):
    changed.write_text(text)
    with pytest.raises(TamperedDeployment, match=FILE):
        null_of(opened)


def test_numbers_that_are_none_are_refused(opened, changed):
    fields = json.loads(changed.read_text())
    for broken in ([], [float("inf")], [[1.0]], ["a"]):
        changed.write_text(json.dumps({**fields, "misfits": broken}))
        with pytest.raises(TamperedDeployment, match=FILE):
            null_of(opened)


def test_another_deployments_null_does_not_count(opened, changed):
    changed.write_text(json.dumps({**json.loads(changed.read_text()), "deployment": "other"}))
    assert null_of(opened) is None


def test_too_few_images_are_refused(folder):
    with pytest.raises(ValueError, match="at least 20"):
        calibrate(folder, images=19, seed=0)


def attribute(folder, images, **asked):
    return list(inquiry.attribute(folder, images, Request(**asked)))


def test_files_are_compared_with_own_images(folder, tmp_path):
    """Noise over the whole range is explained worse than all images of the generator."""
    noise = np.random.default_rng(0).integers(2, size=(16, 16, 3)).astype(np.uint8) * 255
    write_image(tmp_path / "noise.png", noise)
    (found,) = attribute(folder, [tmp_path / "noise.png"])
    assert found.membership == 1 / (IMAGES + 1)
    assert found.user is None
    (other,) = attribute(folder, [tmp_path / "noise.png"], method=Method.ENCODER)
    assert other.membership is None  # these do not climb
    (resampled,) = inquiry.attribute(folder, [tmp_path / "noise.png"], Request(), resize=True)
    assert resampled.membership is None  # own images were not resampled
