from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.choices import Coding
from latentfp.fingerprint.basis import content, coordinates, fit_basis, split
from latentfp.fingerprint.codes import draw_codes
from latentfp.fingerprint.embed import embed
from latentfp.fingerprint.pipeline import embed_many, only_code, read_many

SHAPE, K, N = (2, 3, 4), 6, 5
D = 24
SIGMA = 0.7
ROUNDING = 1e-5  # of sums of 24 products of size up to 10 in float32
CODES = draw_codes(0, N, bits=K, min_distance=2)
RANDOM = np.random.default_rng(3)
SAMPLES = (RANDOM.standard_normal((300, D)) * np.linspace(4, 0.5, D) + 2).astype(np.float32)
MAPS = SAMPLES[:N].reshape(N, *SHAPE)


@pytest.fixture(scope="module")
def space():
    return split(fit_basis(SAMPLES), shift=9, bits=K)


@pytest.mark.parametrize("coding", Coding)
def test_maps_are_embedded_one_by_one(space, coding):
    marked = embed_many(space, MAPS, CODES, sigma=SIGMA, coding=coding)
    assert isinstance(marked, np.ndarray)
    assert marked.flags.writeable
    assert (marked.dtype, marked.shape) == (np.float32, MAPS.shape)
    for made, w0, code in zip(marked, MAPS, CODES, strict=True):
        expected = embed(space, jnp.asarray(w0.ravel()), code, sigma=SIGMA, coding=coding)
        np.testing.assert_allclose(made.ravel(), expected, atol=ROUNDING)
        kept, was = (content(space, jnp.asarray(w.ravel())) for w in (made, w0))
        np.testing.assert_allclose(kept, was, atol=ROUNDING)


@pytest.mark.parametrize("coding", Coding)
def test_what_is_embedded_is_read(space, coding):
    marked = embed_many(space, MAPS, CODES, sigma=SIGMA, coding=coding)
    read = read_many(space, marked, sigma=SIGMA, coding=coding)
    np.testing.assert_allclose(read, np.where(CODES, 0.5, -0.5), atol=ROUNDING)


def test_one_code_for_all(space):
    write = partial(embed_many, space, MAPS, sigma=SIGMA, coding=Coding.ANTIPODAL)
    np.testing.assert_array_equal(write(CODES[2]), write(np.tile(CODES[2], (N, 1))))


def test_vectors_and_other_arrays(space):
    write = partial(embed_many, space, codes=CODES, sigma=SIGMA, coding=Coding.ANTIPODAL)
    marked = write(MAPS)
    np.testing.assert_array_equal(write(MAPS.reshape(N, D)), marked.reshape(N, D))
    np.testing.assert_array_equal(write(jnp.asarray(MAPS)), marked)
    half = write(MAPS.astype(np.float16))
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, marked, atol=2e-2)  # half precision of latents up to 15
    none = embed_many(space, MAPS[:0], CODES[0], sigma=SIGMA, coding=Coding.ANTIPODAL)
    assert none.shape == (0, *SHAPE)


def test_the_latents_of_the_caller_stay_as_they_are(space):
    given = MAPS.copy()
    embed_many(space, given, CODES, sigma=SIGMA, coding=Coding.ANTIPODAL)[:] = 0
    np.testing.assert_array_equal(given, MAPS)


def test_reading_is_in_units_of_sigma(space):
    own = jax.vmap(partial(coordinates, space))(jnp.asarray(MAPS.reshape(N, D)))
    read = read_many(space, MAPS, sigma=2.0, coding=Coding.ANTIPODAL)
    np.testing.assert_allclose(read, own / 2, atol=ROUNDING)
    read = read_many(space, MAPS, sigma=2.0, coding=Coding.BINARY)
    np.testing.assert_allclose(read, own / 2 - 0.5, atol=ROUNDING)


def test_the_axes_of_the_code_suffice(space):
    light = only_code(space)
    assert sum(np.size(part) for part in light[:-1]) == (1 + K) * D + K
    write = partial(embed_many, latents=MAPS, codes=CODES, sigma=SIGMA, coding=Coding.ANTIPODAL)
    np.testing.assert_array_equal(write(light), write(space))
    read = partial(read_many, latents=MAPS, sigma=SIGMA, coding=Coding.ANTIPODAL)
    np.testing.assert_array_equal(read(light), read(space))


@pytest.mark.parametrize(
    ("latents", "codes", "sigma", "reason"),
    [
        (MAPS[:, :1], CODES, SIGMA, r"shape \[5, 1, 3, 4\].*24 numbers"),
        (MAPS[0].ravel(), CODES, SIGMA, r"shape \[24\]"),
        (MAPS * np.nan, CODES, SIGMA, "non-finite"),
        (MAPS, CODES[:, 1:], SIGMA, r"codes of shape \[5, 5\].*\[5, 6\] or \[6\]"),
        (MAPS, CODES[:2], SIGMA, r"codes of shape \[2, 6\]"),
        (MAPS, CODES, 0.0, "sigma 0.0"),
        (MAPS, CODES, float("nan"), "sigma nan"),
    ],
)
def test_what_cannot_be_embedded(space, latents, codes, sigma, reason):
    with pytest.raises(ValueError, match=reason):
        embed_many(space, latents, codes, sigma=sigma, coding=Coding.ANTIPODAL)


def test_what_cannot_be_read(space):
    with pytest.raises(ValueError, match="24 numbers"):
        read_many(space, MAPS[:, :1], sigma=SIGMA, coding=Coding.ANTIPODAL)
    with pytest.raises(ValueError, match="sigma -1"):
        read_many(space, MAPS, sigma=-1.0, coding=Coding.ANTIPODAL)
