"""What every kind of generator promises, and the noise maps of StyleGAN2."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp import rng
from latentfp.generators.pretrained import KINDS
from latentfp.generators.stylegan2 import model

GENERATORS = sorted(kind for kind in KINDS if KINDS[kind].make is not None)
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
ROWS = 3


@pytest.fixture(scope="module", params=GENERATORS)
def made(request):
    """The generator, random parameters, its compiled functions."""
    kind, fields = KINDS[request.param], FIELDS[request.param]
    draw = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: kind.template(fields))
    stored = jax.tree.map(lambda leaf: jnp.asarray(draw.normal(size=leaf.shape), jnp.float32), shapes)
    if "mapping" in stored:
        stored["mapping"] = jax.tree.map(lambda leaf: 100 * leaf, stored["mapping"])  # 1 / its rate
    assert kind.make is not None
    generator = kind.make(**fields)
    return (
        generator,
        stored | kind.derived(fields, 7),
        jax.jit(generator.sample, static_argnums=2),
        jax.jit(generator.synthesize),
    )


@pytest.fixture(scope="module")
def w(made):
    return made[2](made[1], jax.random.key(5), ROWS)


def test_every_kind_is_tested():
    assert sorted(FIELDS) == GENERATORS


def test_shapes_and_dtypes(made, w):
    generator, params, _, synthesize = made
    assert generator.latent_dim == 24
    assert (w.shape, w.dtype) == ((ROWS, generator.latent_dim), jnp.float32)
    images = synthesize(params, w)
    assert (images.shape, images.dtype) == ((ROWS, *generator.image_shape), jnp.float32)


def test_a_sample_is_a_function_of_its_key(made, w):
    _, params, sample, _ = made
    np.testing.assert_array_equal(sample(params, jax.random.key(5), ROWS), w)
    assert (np.abs(sample(params, jax.random.key(6), ROWS) - w) > 0).mean() > 0.9
    assert (np.abs(w[1:] - w[:-1]) > 0).mean() > 0.9


def test_synthesis_is_deterministic_and_compiles_to_itself(made, w):
    generator, params, _, synthesize = made
    images = synthesize(params, w)
    np.testing.assert_array_equal(synthesize(params, w), images)
    eager = generator.synthesize(params, w)
    # the same operations, fused or not: see DEPTH_ROUNDING of the networks' tests
    np.testing.assert_allclose(eager, images, rtol=0, atol=1.2e-5 * np.abs(images).max())


def test_an_image_does_not_see_the_others(made, w):
    _, params, _, synthesize = made
    images = synthesize(params, w)
    np.testing.assert_array_equal(synthesize(params, w[::-1])[::-1], images)
    np.testing.assert_array_equal(synthesize(params, w.at[1:].multiply(-2))[0], images[0])
    assert np.abs(images[1] - images[0]).max() > 0.01


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
