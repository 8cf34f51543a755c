"""The study of confidence: made-up samples whose truth is known, and all of it on a linear generator."""

import numpy as np
import pytest
import small_study
from linear_space import write_deployment
from scipy.special import expit

from latentfp.attribution.confidence import FEATURES, TERMS
from latentfp.studies import confidence
from latentfp.studies.confidence import Sample, believed, error, fit, held_out, likelihood


def sample(share, *, jpeg, seed, n=300):
    """Images whose ratios are so much surer than they may be, and a feature that tells it."""
    random = np.random.default_rng(seed)
    seen = np.zeros((n, len(FEATURES)))
    seen[:, FEATURES.index("jpeg")] = jpeg
    codes = random.random((n, 64)) < 0.5
    true = random.normal(0, 2, (n, 64))
    right = random.random((n, 64)) < expit(np.abs(true))
    ratios = np.where(right == codes, np.abs(true), -np.abs(true)) / share
    return Sample(seen, ratios, codes)


def test_weights_make_ratios_mean_what_they_say():
    good, bad = sample(1.0, jpeg=0.0, seed=0), sample(0.25, jpeg=1.0, seed=1)
    weights = fit([good, bad])
    assert error(good.ratios, good.codes) < 0.02 < 0.1 < error(bad.ratios, bad.codes)
    for it in (good, bad):
        assert error(believed(it, weights), it.codes) < 0.02
    np.testing.assert_allclose(np.abs(bad.ratios / believed(bad, weights)), 4, rtol=0.1)
    assert likelihood(believed(bad, weights), bad.codes) < likelihood(bad.ratios, bad.codes)


def test_weights_that_are_held_out_have_not_seen_their_kind():
    """Only one of two kinds is too sure, and nothing but that kind says so."""
    good, bad = sample(1.0, jpeg=0.0, seed=0), sample(0.25, jpeg=1.0, seed=1)
    by = held_out([good, bad], ["clean", "jpeg"])
    np.testing.assert_allclose(believed(good, by[1]), good.ratios, rtol=0.1)
    np.testing.assert_allclose(believed(bad, by[1]), bad.ratios, rtol=0.1)
    np.testing.assert_allclose(by[0], fit([bad]))


def test_on_a_linear_generator(tmp_path):
    folder = str(write_deployment(tmp_path))
    settings = confidence.Settings((folder,), ("codecs/JPEG 50", "codecs/none"), 4)
    found = small_study.run(confidence, settings, tmp_path / "study", seed=1)
    assert tuple(found["weights"]) == TERMS
    assert [row["attack"] for row in found["rows"]] == ["JPEG 50", "none"]
    assert found["unseen"] == []
    for row in found["rows"]:
        assert 0 <= row["tempered"] <= 1
    again = small_study.run(confidence, settings, tmp_path / "study", seed=1)
    assert again["weights"] == found["weights"]


def test_other_deployments_tell_of_one_that_had_no_part(tmp_path):
    folders = tuple(str(write_deployment(tmp_path / name)) for name in ("a", "b"))
    alone = confidence.Settings(folders, ("codecs/none",), 2)
    with pytest.raises(ValueError, match="all attacks are of the kind none"):
        small_study.run(confidence, alone, tmp_path / "study", seed=1)
    settings = confidence.Settings(folders, ("codecs/none", "codecs/JPEG 50"), 2)
    found = small_study.run(confidence, settings, tmp_path / "study", seed=1)
    assert [it["deployment"] for it in found["unseen"]] == list(folders)
    assert all(len(it["likelihood"]) == 2 for it in found["unseen"])
    for it in found["unseen"]:
        own = [row["likelihood"][0] for row in found["rows"] if row["deployment"] == it["deployment"]]
        assert it["likelihood"][0] == pytest.approx(np.mean(own))
