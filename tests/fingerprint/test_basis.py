import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.choices import Coding
from latentfp.fingerprint.basis import content, coordinates, fit_basis, fit_channel_basis, split
from latentfp.fingerprint.embed import embed

D = 12


@pytest.fixture
def samples():
    """Rotated Gaussians whose standard deviations run from 10 down to 0.02 around a mean of size 5."""
    rng = np.random.default_rng(5)
    rotation = np.linalg.qr(rng.standard_normal((D, D)))[0]
    return rng.standard_normal((4000, D)) * np.geomspace(10, 0.02, D) @ rotation + 5 * rng.standard_normal(D)


def test_the_axes_are_the_right_singular_vectors(samples):
    basis = fit_basis(samples.astype(np.float32))
    exact = samples.astype(np.float32).astype(np.float64)
    _, singular, rows = np.linalg.svd(exact - exact.mean(axis=0), full_matrices=False)
    # A float64 result rounded to float32; squaring the condition number 500 costs 1e-11 only.
    np.testing.assert_allclose(basis.mean, exact.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(basis.stds, singular / np.sqrt(len(exact) - 1), rtol=1e-6)
    np.testing.assert_allclose(
        np.abs(np.sum(np.asarray(basis.axes, np.float64) * rows, axis=1)), 1, atol=1e-6
    )


def test_the_largest_entry_of_each_axis_is_positive(samples):
    axes = np.asarray(fit_basis(samples).axes)
    assert (axes[np.arange(D), np.abs(axes).argmax(axis=1)] > 0).all()


def test_the_sign_of_the_data_does_not_matter(samples):
    np.testing.assert_allclose(fit_basis(samples).axes, fit_basis(-samples).axes, atol=1e-6)


def test_device_arrays_are_taken(samples):
    w = jnp.asarray(samples, jnp.float32)
    np.testing.assert_array_equal(fit_basis(w).axes, fit_basis(np.asarray(w)).axes)


@pytest.mark.parametrize(
    ("w", "message"),
    [(np.zeros((D, D)), "at least 13"), (np.full((20, D), np.nan), "non-finite")],
)
def test_bad_samples_are_refused(w, message):
    with pytest.raises(ValueError, match=message):
        fit_basis(w)


def test_the_axes_of_channels_are_interleaved(samples):
    """Row 3 i + c is the i-th right singular vector of channel c, and zero elsewhere."""
    basis = fit_channel_basis(samples, channels=3)
    axes, stds = np.asarray(basis.axes, np.float64), np.asarray(basis.stds)
    np.testing.assert_allclose(basis.mean, samples.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(axes @ axes.T, np.eye(D), atol=1e-6)
    for channel in range(3):
        part = slice(4 * channel, 4 * channel + 4)
        centred = samples[:, part] - samples[:, part].mean(axis=0)
        _, singular, rows = np.linalg.svd(centred, full_matrices=False)
        np.testing.assert_allclose(stds[channel::3], singular / np.sqrt(len(samples) - 1), rtol=1e-6)
        aligned = np.sum(axes[channel::3, part] * rows, axis=1)
        np.testing.assert_allclose(np.abs(aligned), 1, atol=1e-6)
        np.testing.assert_array_equal(np.delete(axes[channel::3], part, axis=1), 0)


def test_one_channel_is_the_whole_latent(samples):
    for whole, joint in zip(fit_channel_basis(samples, channels=1), fit_basis(samples), strict=True):
        np.testing.assert_array_equal(whole, joint)


def test_device_arrays_have_channels_too(samples):
    w = jnp.asarray(samples, jnp.float32)
    on_host = fit_channel_basis(np.asarray(w), channels=3)
    np.testing.assert_array_equal(fit_channel_basis(w, channels=3).axes, on_host.axes)


@pytest.mark.parametrize(
    ("n", "channels", "message"),
    [(40, 5, "12 dimensions are not 5 equal channels"), (40, 0, "not 0 equal"), (4, 3, "at least 5")],
)
def test_impossible_channels_are_refused(samples, n, channels, message):
    with pytest.raises(ValueError, match=message):
        fit_channel_basis(samples[:n], channels=channels)


def test_channels_need_samples_for_their_own_axes_only(samples):
    assert fit_channel_basis(samples[:5], channels=3).axes.shape == (D, D)


@pytest.mark.parametrize("coding", Coding)
def test_levels_are_recovered_from_the_axes_of_channels(samples, coding):
    space = split(fit_channel_basis(samples, channels=3), shift=3, bits=6)
    w0, code = jnp.asarray(samples[0], jnp.float32), np.array([1, 1, 1, 0, 0, 0], dtype=bool)
    w = embed(space, w0, code, sigma=0.7, coding=coding)
    # Values up to 40: float32 keeps 7 digits, and a sum of 12 terms loses one.
    np.testing.assert_allclose(coordinates(space, w), 0.7 * (code - coding.offset), atol=5e-5)
    np.testing.assert_allclose(content(space, w), content(space, w0), atol=5e-5)


@pytest.mark.parametrize("shift", [0, 3, 8])
def test_split_gives_every_axis_away_once(samples, shift):
    basis = fit_basis(samples)
    space = split(basis, shift=shift, bits=4)
    np.testing.assert_array_equal(space.code_axes, basis.axes[shift : shift + 4])
    np.testing.assert_array_equal(space.code_stds, basis.stds[shift : shift + 4])
    rest = [i for i in range(D) if not shift <= i < shift + 4]
    np.testing.assert_array_equal(space.content_axes, np.asarray(basis.axes)[rest])
    np.testing.assert_array_equal(space.content_stds, np.asarray(basis.stds)[rest])


@pytest.mark.parametrize(
    ("shift", "bits", "message"),
    [(0, 0, "1 … 11"), (0, 12, "1 … 11"), (9, 4, "shift of 0 … 8"), (-1, 4, "shift of 0 … 8")],
)
def test_an_impossible_split_is_refused(samples, shift, bits, message):
    with pytest.raises(ValueError, match=message):
        split(fit_basis(samples), shift=shift, bits=bits)


def test_content_and_coordinates_make_up_the_latent(samples):
    space = split(fit_basis(samples), shift=6, bits=4)
    w = jnp.asarray(samples[:7], jnp.float32)
    alpha = jax.vmap(content, (None, 0))(space, w)
    marks = jax.vmap(coordinates, (None, 0))(space, w)
    rebuilt = space.mean[None] + alpha @ space.content_axes + marks @ space.code_axes
    # Values up to 40: float32 keeps 7 digits, and a sum of 12 terms loses one.
    np.testing.assert_allclose(rebuilt, w, atol=5e-5)


@pytest.mark.golden
def test_principal_axes_of_the_public_code(golden):
    with np.load(golden("fingerprint") / "io.npz") as io:
        basis = fit_basis(io["w"])
        # Tolerances of that folder, whose float32 solver is the inaccurate one. Its mean is a float32 sum of
        # 10 000 terms, which is 1.9e-5 from the exact mean of its own samples.
        exact = io["w"].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(basis.mean, exact, atol=3e-7)  # half a unit in the last place of 4.6
        np.testing.assert_allclose(basis.mean, io["mean"], atol=1e-5 + np.abs(io["mean"] - exact).max())
        np.testing.assert_allclose(np.asarray(basis.stds) ** 2, io["explained_variance_full_svd"], rtol=2e-5)
        np.testing.assert_allclose(np.asarray(basis.stds) ** 2, io["explained_variance"], rtol=2e-4)
        np.testing.assert_allclose(basis.axes, io["components"], atol=20 * 0.00057)
