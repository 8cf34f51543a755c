"""A copy as a map of latents: what it writes, in which units, and its file."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from latentfp.choices import Coding
from latentfp.fingerprint.basis import content, coordinates, fit_basis, split
from latentfp.fingerprint.codes import draw_codes
from latentfp.fingerprint.embed import embed
from latentfp.fingerprint.latent_copy import LatentFormat, apply, copy_for, for_decoder, load, rotated, save

SHAPE, K, N = (2, 3, 4), 6, 5
D, SIGMA = 24, 0.7
ROUNDING = 1e-5  # of sums of 24 products of size up to 10 in float32
CODE = draw_codes(0, N, bits=K, min_distance=2)[2]
RANDOM = np.random.default_rng(3)
SAMPLES = (RANDOM.standard_normal((300, D)) * np.linspace(4, 0.5, D) + 2).astype(np.float32)
MAPS = SAMPLES[:N].reshape(N, *SHAPE)


@pytest.fixture(scope="module")
def space():
    return split(fit_basis(SAMPLES), shift=9, bits=K)


@pytest.fixture(scope="module")
def copy(space):
    return copy_for(space, CODE, sigma=SIGMA, coding=Coding.ANTIPODAL)._replace(latent=LatentFormat(SHAPE))


@pytest.mark.parametrize("coding", Coding)
def test_maps_bear_the_code_and_keep_the_rest(space, coding):
    marked = apply(copy_for(space, CODE, sigma=SIGMA, coding=coding), MAPS)
    assert (marked.dtype, marked.shape) == (np.float32, MAPS.shape)
    for made, w0 in zip(marked, MAPS, strict=True):
        expected = embed(space, jnp.asarray(w0.ravel()), CODE, sigma=SIGMA, coding=coding)
        np.testing.assert_allclose(made.ravel(), expected, atol=ROUNDING)
        kept, was = (content(space, jnp.asarray(w.ravel())) for w in (made, w0))
        np.testing.assert_allclose(kept, was, atol=ROUNDING)
        levels = coordinates(space, jnp.asarray(made.ravel())) / SIGMA
        np.testing.assert_allclose(levels, CODE - coding.offset, atol=ROUNDING)


def test_a_latent_does_not_depend_on_its_company(copy):
    alone = np.concatenate([apply(copy, one[None]) for one in MAPS])
    np.testing.assert_array_equal(apply(copy, MAPS), alone)
    np.testing.assert_array_equal(apply(copy, jnp.asarray(MAPS)), alone)
    np.testing.assert_array_equal(apply(copy, MAPS.reshape(N, D)), alone.reshape(N, D))
    assert apply(copy, MAPS[:0]).shape == (0, *SHAPE)


def test_the_latents_of_the_caller_stay_as_they_are(copy):
    given = MAPS.copy()
    apply(copy, given)[:] = 0
    np.testing.assert_array_equal(given, MAPS)


def test_the_decoder_may_count_in_other_units(copy):
    scale, shift = 0.36, -0.4
    other = for_decoder(rotated(copy, 1)._replace(latent=LatentFormat(SHAPE, scale, shift)))
    found = (apply(other, MAPS / np.float32(scale) + np.float32(shift)) - shift) * scale
    np.testing.assert_allclose(found, apply(copy, MAPS), atol=ROUNDING)


def test_a_file_holds_all_of_it(copy, tmp_path):
    whole = copy._replace(latent=LatentFormat(SHAPE, 0.18215, 0.25))
    save(tmp_path / "copy.safetensors", whole)
    found = load(tmp_path / "copy.safetensors")
    assert found.latent == whole.latent
    np.testing.assert_allclose(found.axes, copy.axes, atol=1e-7)
    np.testing.assert_allclose(found.offset, copy.offset, rtol=1e-6)
    with safe_open(tmp_path / "copy.safetensors", "np") as file:
        said = file.metadata()
    assert json.loads(said["shape"]) == list(SHAPE)
    assert "axes.T" in said["apply"]


@pytest.mark.parametrize(
    ("said", "message"),
    [({"shape": "[4, 4]"}, r"of 24 numbers and \(4, 4\)"), ({"scale": "x"}, "its header is damaged")],
)
def test_a_damaged_header_is_refused(copy, tmp_path, said, message):
    tensors = {"axes": copy.axes.astype(np.float32), "offset": copy.offset.astype(np.float32)}
    save_file(tensors, tmp_path / "copy", said)
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "copy")


@pytest.mark.parametrize(
    ("latents", "reason"),
    [
        (MAPS[:, :1], r"shape \[5, 1, 3, 4\]: expected \[n, 2, 3, 4\]"),
        (MAPS[0].ravel(), r"shape \[24\]"),
        (MAPS * np.nan, "non-finite"),
    ],
)
def test_what_cannot_be_marked(copy, latents, reason):
    with pytest.raises(ValueError, match=reason):
        apply(copy, latents)
