"""Fidelity in both kinds of features, on a linear generator and noise for data."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_inception
import small_study
from linear_space import write_generator

from latentfp.checkpoints.torch_files import write_tensors
from latentfp.data import pipeline
from latentfp.pixels import to_float
from latentfp.quality import inception
from latentfp.quality.distribution import frechet_distance
from latentfp.quality.features import random_features
from latentfp.studies import fidelity

SIZE, IMAGES = 8, 4
DATA = np.random.default_rng(0).integers(0, 256, (2 * IMAGES, SIZE, SIZE, 3), np.uint8)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The study with batches of four, and an Inception that sees 75×75 pixels, the least that it can."""
    monkeypatch.setattr(fidelity, "BATCH", IMAGES)
    monkeypatch.setattr(inception, "SIDE", 75)
    source = pipeline.Source(len(DATA), DATA.__getitem__, size=SIZE)
    monkeypatch.setattr(pipeline, "open_source", lambda *_args, **_fields: source)
    chosen = {
        "generator": str(write_generator(tmp_path / "generator", latent_dim=6, size=SIZE)),
        "dataset": "noise",
        "split": "train",
        "data_dir": None,
    }

    def run(inception, images=IMAGES):
        settings = fidelity.Settings(inception=inception, images=images, **chosen)
        return small_study.run(fidelity, settings, tmp_path / "out", seed=0)

    return run


def check(result, folder, embed):
    """The file, and the distance of the data to themselves by other means than the study's."""
    assert json.loads((folder / "out/tiny.json").read_text()) == result
    rows = np.stack([embed(image) for image in jnp.asarray(to_float(DATA))])
    expected = frechet_distance(rows[IMAGES:], rows[:IMAGES])
    # float32 leaves features right to 1e-6 of their size, which is 15 times that of their differences.
    np.testing.assert_allclose(result["frechet_of_data"], expected, rtol=1e-4)
    assert result["frechet"] > 0
    for shares in (result["precision, recall"], result["precision, recall of data"]):
        assert all(0 <= share <= 1 for share in shares)


def test_random_features(run, tmp_path, caplog):
    result = run(None)
    check(result, tmp_path, random_features)
    assert result["features"] == "random"
    assert "4 images in 96 features are mostly bias" in caplog.text


@pytest.mark.slow
def test_the_features_of_a_users_file(run, tmp_path, caplog):
    path = tmp_path / "inception.pth"
    write_tensors(path, random_inception.tensors(1))
    result = run(str(path))
    params = inception.load(path)
    check(result, tmp_path, jax.jit(lambda image: inception.inception_features(params, image)))
    assert result["features"] == f"inception, SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert "4 images in 2048 features are mostly bias" in caplog.text


def test_too_many_images_are_refused(run):
    with pytest.raises(ValueError, match="8 images: expected a multiple of 4, at most half of 8"):
        run(None, images=8)
