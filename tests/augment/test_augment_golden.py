"""The attacks of the paper's public code and files of libjpeg, to the tolerances of the golden README."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.augment.blur import gaussian_blur
from latentfp.augment.codecs import libjpeg
from latentfp.augment.noise import gaussian_noise
from latentfp.pixels import to_float, to_pixels

pytestmark = pytest.mark.golden


@pytest.fixture
def arrays(golden):
    with np.load(golden("attacks") / "io.npz", allow_pickle=False) as file:
        return {name: a.transpose(0, 2, 3, 1) if a.shape[1:2] == (3,) else a for name, a in file.items()}


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_blur(arrays, sigma):
    ours = jax.vmap(lambda x: gaussian_blur(x, sigma=sigma, kernel_size=25))(arrays["x"])
    # For values up to 2: the golden numbers lie up to 1.2e-6 from a float64 sum, ours up to 6e-7.
    np.testing.assert_allclose(ours, arrays[f"blur_k25_s{sigma:g}"], rtol=0, atol=2e-6)


def noise_of(arrays, monkeypatch):
    """Our noise with the golden normal numbers."""
    units = iter(arrays["noise_unit"])
    monkeypatch.setattr(jax.random, "normal", lambda _, shape: next(units).reshape(shape))
    return lambda x: gaussian_noise(jax.random.key(0), x, std=0.1)


def test_noise(arrays, monkeypatch):
    noise = noise_of(arrays, monkeypatch)
    ours = [noise(x) for x in jnp.asarray(arrays["x"])]
    np.testing.assert_allclose(ours, arrays["noise_std0.1"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize("quality", [50, 80])
def test_libjpeg(arrays, quality, subsampling):
    """Another version of the library may deviate: by a grey level at 4:4:4, by its chroma filter at 4:2:0."""
    ours = np.stack([libjpeg(x, quality=quality, subsampling=subsampling) for x in arrays["x_uint8"]])
    theirs = arrays[f"libjpeg_q{quality}_{subsampling.replace(':', '')}"]
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1 if subsampling == "4:4:4" else difference.mean() <= 1


def test_pixels(arrays):
    np.testing.assert_array_equal(to_pixels(arrays["x"]), arrays["x_uint8"])
    np.testing.assert_allclose(to_float(arrays["x_uint8"]), arrays["x_from_uint8"], rtol=0, atol=2e-7)
