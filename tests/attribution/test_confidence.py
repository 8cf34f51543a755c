"""Tempers: which fits are believed, and how far."""

import numpy as np
import pytest

from latentfp.attribution.confidence import FEATURES, TERMS, features, tempers, terms, trust, weights
from latentfp.attribution.estimate import Estimate, answer
from latentfp.augment.damage import Damage, coordinates
from latentfp.choices import Stage

BITS = 64


def found(levels=1.0, *, loss=1.0, damage=Damage(), stage=Stage.REFINE, **seen):  # noqa: B008
    """One answer; `levels`: a number, or of every bit."""
    codes = np.resize([1.0, -1.0], (1, BITS))
    levels = codes * levels
    estimate = Estimate(levels > 0, 4 * levels, np.zeros((1, 3)), np.array([loss]), np.zeros(1, int), levels)
    distortion = np.asarray(coordinates(damage), np.float32)[None]
    return answer(estimate, stage, passes=1, distortion=distortion, **seen)


def temper(*given, **fields):
    return float(tempers(found(*given, **fields))[0])


def test_an_explained_image_is_believed_whatever_its_levels_are():
    """Those of an image without a code lie anywhere; such a fit is not a bad one."""
    small = 0.2 * np.random.default_rng(0).standard_normal((1, BITS))  # of the prior, where sigma is large
    assert temper() == temper(small) == 1
    assert temper(small, loss=2.0) > 2


def test_what_is_left_unexplained_is_believed_less():
    by = [temper(loss=loss) for loss in (1.0, 3.0, 10.0)]
    assert by[0] < by[1] < by[2]
    assert by[2] > 2


@pytest.mark.parametrize("heavy", [Damage(quality=10.0), Damage(blur=3.0)])
def test_bits_behind_heavy_damage_are_believed_less(heavy):
    assert temper(damage=heavy) > 1.3 * temper()


def test_no_ratio_is_made_larger():
    spread = np.random.default_rng(1).uniform(0, 3, (200, 2))
    all_of_them = [temper(level, loss=loss) for level, loss in spread]
    assert min(all_of_them) >= 1


def test_what_no_descent_found_is_tempered_by_its_misfit():
    assert temper(loss=3.0, stage=Stage.DECODER) == pytest.approx(9)
    assert temper(loss=0.5, stage=Stage.DECODER) == 1


def test_failed_estimates_have_finite_features():
    for loss in (np.inf, np.nan, 0.0):
        assert np.isfinite(features(found(0.0, loss=loss))).all()
    assert np.isinf(temper(0.0, loss=np.inf, stage=Stage.DECODER))


def test_an_image_elsewhere_in_its_file_has_a_feature_of_its_own():
    place = FEATURES.index("moved")
    hidden = np.zeros((1, 16, 16), bool)
    assert features(found(hidden=hidden))[0, place] == 0
    assert features(found(orientation=3))[0, place] == 1
    hidden[0, 3, 4] = True
    assert features(found(hidden=hidden))[0, place] == 1


def test_terms_are_products_of_features():
    seen = np.arange(1.0, 10.0)[None]
    by = dict(zip(TERMS, terms(seen)[0], strict=True))
    assert (by["1"], by["level"], by["level * level"], by["unexplained * moved"]) == (1, 3, 9, 9)
    assert len(TERMS) == len(weights()) == 1 + 9 + 45


def test_trust_is_positive_and_grows():
    by = np.zeros(len(TERMS))
    by[0] = 1
    seen = np.zeros((1, 9))
    np.testing.assert_allclose(trust(seen, by), [np.log1p(np.e)])
    np.testing.assert_allclose(trust(seen, -800 * by), [0], atol=1e-300)
    np.testing.assert_allclose(trust(seen, 5 * by), [5], atol=7e-3)
