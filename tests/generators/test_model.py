"""That every kind of generator keeps what a generator promises, and the noise maps of StyleGAN2."""

import hashlib

import jax
import numpy as np
import pytest

from latentfp import rng
from latentfp.generators import contract
from latentfp.generators.pretrained import KINDS
from latentfp.generators.stylegan2 import model

GENERATORS = sorted(KINDS.keys() - {"first_stage"})  # which has no prior
FIELDS = {
    "latent_diffusion": {
        "size": 4,
        "first_stage": {"channels": [4, 4], "blocks": 1, "latent": 6, "groups": 2},
        "denoiser": {"channels": [4], "blocks": 1, "attention": [0], "head": 4, "groups": 2},
        "scale": 1.5,
        "steps": 2,
    },
    "linear": {"latent_dim": 24, "size": 8},
    "stylegan2": {"size": 16, "channels": [4, 3, 3], "latent_dim": 24, "mapping_layers": 2},
}


def made(kind):
    """The generator with random parameters."""
    known, fields = KINDS[kind], FIELDS[kind]
    return known.make(**fields), jax.jit(lambda: known.template(fields))() | known.derived(fields, 7)


def test_every_kind_is_tested():
    assert sorted(FIELDS) == GENERATORS


@pytest.mark.slow
@pytest.mark.parametrize("kind", GENERATORS)
def test_every_kind_keeps_the_contract(kind):
    generator, params = made(kind)
    assert generator.latent_dim == 24
    contract.check(generator, params)


def digest(maps):
    return hashlib.sha256(b"".join(np.asarray(noise, "<f4").tobytes() for noise in maps)).hexdigest()


def test_fixed_noise_is_the_same_for_good():
    """Written down once: other maps would be another generator, and its images could not be attributed."""
    maps = model.fixed_noise(32, 2022)
    assert [noise.shape for noise in maps] == [(n, n) for n in (4, 8, 8, 16, 16, 32, 32)]
    np.testing.assert_allclose(maps[0][0], [-0.0005278991, -0.2749014, -0.1392856, 1.984686], rtol=1e-5)
    assert digest(maps) == "20b19572bed79f693ed546d02a71c0c8c32be1d3d86f8da6ece73f3e92f36d3d"
    assert digest(model.fixed_noise(32, 2023)) != digest(maps)


def test_fixed_noise_is_standard_normal():
    numbers = np.concatenate([np.ravel(noise) for noise in model.fixed_noise(64, 0)])
    # mean and deviation of 13 648 numbers err by 0.9 % and 0.6 %; five of these
    assert abs(numbers.mean()) < 0.043
    assert abs(numbers.std() - 1) < 0.03


def test_fresh_noise_is_another_for_every_layer_image_and_key(key):
    maps = model.fresh_noise(key, 16, 2)
    assert [noise.shape for noise in maps] == [(2, n, n) for n in (4, 8, 8, 16, 16)]
    images = [np.ravel(noise[row]) for noise in maps for row in range(2)]
    images += [np.ravel(noise[0]) for noise in model.fresh_noise(rng.root(1), 16, 2)]
    for i, one in enumerate(images):
        for other in images[:i]:
            assert (one[:16] != other[:16]).all()
