"""Frequencies as principal axes: against the whole decomposition, of maps that look the same everywhere."""

import numpy as np
import pytest
import scipy.fft

from latentfp.choices import Layout
from latentfp.deployment import fitting
from latentfp.fingerprint.basis import fit_basis
from latentfp.fingerprint.frequencies import fit_frequency_basis
from latentfp.generators.generator import Generator

CHANNELS, SIDE = 3, 16
D = CHANNELS * SIDE**2
PLACE = {"channels": CHANNELS, "shift": 600, "bits": 32, "content": 40}
MIXTURE = np.linalg.qr(np.random.default_rng(0).standard_normal((CHANNELS, CHANNELS)))[0]
MEAN = np.array([0.5, -2.0, 1.0])


def deviations():
    """Of mixture k at frequency (i, j): they fall with the frequency, and from mixture to mixture."""
    distance = 1 + np.hypot(*np.indices((SIDE, SIDE)))
    return np.array([4.0, 1.5, 0.5])[:, None, None] / distance


def draw(n, seed=1):
    random = np.random.default_rng(seed)
    spectra = random.standard_normal((n, CHANNELS, SIDE, SIDE)) * deviations()
    mixed = np.einsum("kc,nkij->ncij", MIXTURE, spectra)
    maps = scipy.fft.idctn(mixed, axes=(2, 3), norm="ortho") + MEAN[:, None, None]
    return maps.reshape(n, D).astype(np.float32)


@pytest.fixture(scope="module")
def basis():
    return fit_frequency_basis(np.array_split(draw(150), 4), **PLACE)


def test_axes_are_orthonormal_and_as_wide_as_they_say(basis):
    axes = np.asarray(basis.axes, np.float64)
    assert axes.shape == (72, D)
    np.testing.assert_allclose(axes @ axes.T, np.eye(72), atol=1e-5)
    seen = (draw(2000, seed=2) @ axes.T).std(axis=0)
    # 150 samples: a deviation within 6 %, four times that for the worst of 72; channels mix a little besides
    np.testing.assert_allclose(seen, basis.stds, rtol=0.3)
    np.testing.assert_allclose(basis.mean.reshape(CHANNELS, -1).mean(axis=1), MEAN, atol=0.1)


def test_they_are_where_the_true_variances_say(basis):
    """The code's axes hold as little as the axes of that place, and the leading ones nearly as much."""
    truth = np.sort(deviations().ravel())[::-1]
    stds = np.asarray(basis.stds, np.float64)
    np.testing.assert_allclose(np.mean(stds[40:] ** 2), np.mean(truth[600:632] ** 2), rtol=0.15)
    captured = np.square(draw(2000, seed=2) - np.repeat(MEAN, SIDE**2)) @ np.ones(D)
    along = np.square((draw(2000, seed=2) - np.repeat(MEAN, SIDE**2)) @ np.asarray(basis.axes[:40]).T).sum(
        axis=1
    )
    assert along.mean() / captured.mean() > 0.97 * (truth[:40] ** 2).sum() / (truth**2).sum()


def test_few_samples_find_what_the_whole_decomposition_needs_many_for():
    """The variance along the last axes, on maps that neither has seen."""
    last = {**PLACE, "shift": D - 32}
    ours = np.asarray(fit_frequency_basis([draw(150)], **last).axes[-32:])
    theirs = np.asarray(fit_basis(draw(1000)).axes[-32:])
    fresh = draw(2000, seed=3)
    ours, theirs = ((fresh @ axes.T).var(axis=0).mean() for axes in (ours, theirs))
    assert ours < 1.2 * np.mean(np.sort(deviations().ravel())[:32] ** 2)
    assert ours < theirs


def test_the_rest_has_the_remaining_variance(basis):
    total = draw(4000, seed=4).var(axis=0).sum()
    found = np.sum(np.square(basis.stds)) + (D - 72) * basis.rest_std**2
    np.testing.assert_allclose(found, total, rtol=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 5}, "768 numbers are not 5 channels of square maps"),
        ({"shift": 740}, "not all among the 768"),
        ({"content": 601}, "601 leading axes do not lie before axis 600"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        fit_frequency_basis([draw(100)], **{**PLACE, **change})


def test_too_few_or_broken_samples_are_refused():
    with pytest.raises(ValueError, match="20 samples cannot determine the frequencies of 3 channels"):
        fit_frequency_basis([draw(20)], **PLACE)
    broken = draw(30)
    broken[3, 3] = np.nan
    with pytest.raises(ValueError, match="non-finite"):
        fit_frequency_basis([broken], **PLACE)


def test_a_deployment_has_them(tmp_path):
    def sample(params, key, n):
        del params, key
        return draw(n)

    matrix = np.eye(D, dtype=np.float32)
    generator = Generator(
        "maps", D, (16, 16, 3), sample, lambda _, w: w.reshape(-1, 16, 16, 3), channels=CHANNELS
    )
    np.save(tmp_path / "latents.npy", draw(60).reshape(-1, CHANNELS, SIDE, SIDE))
    options = {"generator": (generator, {"matrix": matrix}), "sigma": 0.5, "layout": "frequencies"}
    made = fitting.fit(tmp_path / "dep", **options, latents=[tmp_path / "latents.npy"])
    assert (made.manifest.shift, made.basis.axes.shape) == (256, (320, D))
    assert made.manifest.layout == "frequencies"
    truth = np.sort(deviations().ravel())[::-1][D - D // 8 - 64 : D - D // 8]
    np.testing.assert_allclose(np.mean(np.square(made.space.code_stds)), np.mean(truth**2), rtol=0.2)
    unable = generator._replace(sample=lambda *_: pytest.fail("samples were drawn"))
    with pytest.raises(ValueError, match="20 samples cannot determine the frequencies"):
        fitting.fit(tmp_path / "other", **{**options, "generator": (unable, {}), "samples": 20})
    with pytest.raises(ValueError, match="is fitted for a code"):
        fitting.sample_basis(made.generator, fitting.Sampling(60, layout=Layout.FREQUENCIES))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layout frequencies has axes of its own"):
        fitting.fit(tmp_path / "other", **options, axes=20, latents=[tmp_path / "latents.npy"])
