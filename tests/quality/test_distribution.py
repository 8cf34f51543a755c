"""Fréchet distance against closed forms and scipy's matrix root; precision and recall against loops."""

import numpy as np
import pytest
import scipy.linalg

from latentfp.quality import distribution
from latentfp.quality.distribution import frechet_distance, precision_recall

EXACT = 1e-9  # float64: eps · condition of the covariances, 1e4 at most here, with room


def samples(mean, covariance, n, seed):
    """Samples whose own mean and covariance are exactly these."""
    x = np.random.default_rng(seed).standard_normal((n, len(mean)))
    x -= x.mean(0)
    whitened = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return mean + whitened @ np.linalg.cholesky(covariance).T


def covariance(f, seed):
    x = np.random.default_rng(seed).standard_normal((f, f))
    return x @ x.T + 0.1 * np.eye(f)


def test_gaussians_with_commuting_covariances():
    """|m|² + Σ (√a - √b)² for diagonal covariances a and b."""
    a, b, mean = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 1.0]), np.array([1.0, 2.0, 0.0])
    distance = frechet_distance(samples(np.zeros(3), np.diag(a), 50, 0), samples(mean, np.diag(b), 70, 1))
    np.testing.assert_allclose(distance, 5 + 1 + 0 + 4, rtol=EXACT)


def test_any_gaussians():
    mean_a, mean_b = np.random.default_rng(2).standard_normal((2, 6))
    a, b = covariance(6, 3), covariance(6, 4)
    root = np.real(np.asarray(scipy.linalg.sqrtm(a @ b)))
    expected = np.sum((mean_a - mean_b) ** 2) + np.trace(a + b - 2 * root)
    distance = frechet_distance(samples(mean_a, a, 30, 5), samples(mean_b, b, 40, 6))
    np.testing.assert_allclose(distance, expected, rtol=EXACT)


def test_fewer_samples_than_features_and_equal_sets():
    x = np.random.default_rng(7).standard_normal((5, 12)).astype(np.float32)
    # The root of rounding errors of a covariance of rank 4: √eps64 = 1e-8, twelve times.
    assert abs(frechet_distance(x, x)) < 1e-6
    np.testing.assert_allclose(frechet_distance(x, x + 1), 12, rtol=1e-6)


def test_one_feature():
    assert abs(frechet_distance(np.array([[0.0], [2.0]]), np.array([[5.0], [7.0]])) - 25) < EXACT


@pytest.mark.parametrize("bad", [np.zeros((1, 4)), np.full((5, 4), np.nan)])
def test_unusable_features_are_refused(bad):
    good = np.random.default_rng(0).standard_normal((5, 4))
    with pytest.raises(ValueError, match="at least 2 samples, all finite"):
        frechet_distance(good, bad)


@pytest.mark.parametrize("rows", [7, 1024])
def test_precision_and_recall_are_those_of_loops(rows, monkeypatch):
    """However many rows of distances are held at once."""
    monkeypatch.setattr(distribution, "ROWS", rows)
    draw = np.random.default_rng(8)
    real, generated = draw.standard_normal((40, 3)), 0.5 * draw.standard_normal((30, 3)) + 0.8

    def share(points, centres, k):
        inside = 0
        for point in points:
            for i, centre in enumerate(centres):
                others = sorted(np.linalg.norm(centre - o) for j, o in enumerate(centres) if j != i)
                if np.linalg.norm(point - centre) <= others[k - 1]:
                    inside += 1
                    break
        return inside / len(points)

    for k in (1, 3):
        found = precision_recall(real, generated, neighbours=k)
        assert found == (share(generated, real, k), share(real, generated, k))
        assert 0 < found.recall < found.precision < 1, "narrow and off centre: more fidelity than diversity"


def test_disjoint_and_equal_sets():
    x = np.random.default_rng(9).standard_normal((20, 4))
    assert precision_recall(x, x) == (1, 1)
    assert precision_recall(x, x + 100) == (0, 0)


@pytest.mark.parametrize("neighbours", [0, 4])
def test_impossible_neighbourhoods_are_refused(neighbours):
    with pytest.raises(ValueError, match="expected 1 to 3"):
        precision_recall(np.zeros((9, 2)), np.zeros((4, 2)), neighbours=neighbours)
