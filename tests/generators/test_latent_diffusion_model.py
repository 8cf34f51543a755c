"""The generator made of both networks: what it samples, decodes and encodes."""

import math

import jax
import jax.numpy as jnp
import latent_diffusion_oracle as oracle
import numpy as np
import pytest
from stylegan2_oracle import wide

from latentfp import rng
from latentfp.generators.latent_diffusion import diffusion, model

STAGE = {"channels": (4, 4), "blocks": 1, "latent": 3, "groups": 2}
DENOISER = {"channels": (4,), "blocks": 1, "attention": (0,), "head": 2, "groups": 2}
FIELDS = {"size": 8, "first_stage": STAGE, "denoiser": DENOISER, "scale": 2.5, "steps": 3, "eta": 0.7}
NETS = model.networks(size=8, first_stage=STAGE, denoiser=DENOISER)
MADE = model.make(**FIELDS)
ROWS = 2
# Three passes of the depth of the networks' tests, each enlarged by at most √((1 - ā) / ā) of the last time.
ROUNDING = 1e-4


IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(ROWS, 8, 8, 3)), jnp.float32)
PARAMS = {
    "first_stage": oracle.fan_scaled(NETS.first_stage, IMAGES, seed=1),
    "denoiser": oracle.fan_scaled(NETS.denoiser, jnp.zeros((1, *NETS.shape)), jnp.zeros(1), seed=2),
}


@pytest.fixture(scope="module")
def sample():
    return jax.jit(MADE.sample, static_argnums=2)


@pytest.fixture(scope="module")
def w(sample):
    return sample(PARAMS, jax.random.key(5), ROWS)


def near(actual, expected, tolerance=ROUNDING):
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_what_it_is():
    assert MADE.name == "latent_diffusion"
    assert NETS.shape == (4, 4, 3)
    assert (MADE.latent_dim, MADE.image_shape) == (48, (8, 8, 3))


def test_a_sample_is_ddim_from_noise(w):
    """All of it in NumPy, with the noise of the streams; 3 steps of 1000 are at 667, 334 and 1."""
    key, bars = jax.random.key(5), wide(diffusion.linear())
    z = wide(jax.random.normal(rng.stream(key, "noise"), (ROWS, 4, 4, 3)))
    for number, (now, after) in enumerate([(667, 334), (334, 1), (1, 0)]):
        a, b = bars[now], bars[after]
        told = oracle.unet(PARAMS["denoiser"], z, [now] * ROWS, DENOISER)
        sigma = 0.7 * math.sqrt((1 - b) / (1 - a) * (1 - a / b))
        clean = (z - math.sqrt(1 - a) * told) / math.sqrt(a)
        fresh = jax.random.normal(rng.stream(rng.stream(key, "ddim"), "step", number), z.shape)
        z = math.sqrt(b) * clean + math.sqrt(1 - b - sigma**2) * told + sigma * wide(fresh)
    near(w, np.moveaxis(z, 3, 1).reshape(ROWS, -1))


def test_a_sample_is_a_function_of_its_key(sample, w):
    np.testing.assert_array_equal(sample(PARAMS, jax.random.key(5), ROWS), w)
    assert (np.abs(sample(PARAMS, jax.random.key(6), ROWS) - w) > 1e-3).mean() > 0.9
    assert (np.abs(w[0] - w[1]) > 1e-3).mean() > 0.9


def test_samples_of_many_keys_are_those_of_each(sample):
    keys = jax.random.split(jax.random.key(1), 3)
    together = jax.jit(jax.vmap(lambda key: MADE.sample(PARAMS, key, 1)))(keys)
    near(together, np.stack([sample(PARAMS, key, 1) for key in keys]), 1e-5)


def test_sampling_compiles_to_itself(w):
    near(MADE.sample(PARAMS, jax.random.key(5), ROWS), w, 2e-5)


def test_synthesis_divides_by_the_scale(w):
    images = jax.jit(MADE.synthesize)(PARAMS, w)
    z = np.empty((ROWS, 4, 4, 3))
    for i, channel, row, column in np.ndindex(ROWS, 3, 4, 4):
        z[i, row, column, channel] = w[i, (channel * 4 + row) * 4 + column] / 2.5
    near(images, oracle.decode(PARAMS["first_stage"], z, STAGE), 3e-5)
    np.testing.assert_array_equal(jax.jit(MADE.synthesize)(PARAMS, w), images)


def test_encoding_multiplies_the_mean_by_the_scale():
    encode = jax.jit(MADE.encode)  # type: ignore[arg-type]
    mean = oracle.moments(PARAMS["first_stage"], IMAGES, STAGE)[..., :3]
    near(encode(PARAMS, IMAGES), 2.5 * np.moveaxis(mean, 3, 1).reshape(ROWS, -1), 3e-5)


@pytest.mark.parametrize(("codes", "scale"), [(0, 0.2), (6, 3.0)])
def test_what_was_encoded_is_decoded(codes, scale):
    """To what the first stage reconstructs, whatever the scale; with codes, through the nearest ones."""
    fields = {**STAGE, "codes": codes}
    made = model.make(**{**FIELDS, "first_stage": fields, "scale": scale})
    encode = made.encode
    assert encode is not None
    stage = model.networks(size=8, first_stage=fields, denoiser=DENOISER).first_stage
    params = {"first_stage": oracle.fan_scaled(stage, IMAGES)}
    images = jax.jit(lambda params, images: made.synthesize(params, encode(params, images)))(params, IMAGES)
    near(images, oracle.reconstruct(params["first_stage"], IMAGES, fields), 3e-5)


def test_flat_latents_are_channel_by_channel_and_row_by_row():
    z = jnp.arange(2 * 2 * 3 * 4, dtype=jnp.float32).reshape(2, 2, 3, 4)  # image, row, column, channel
    w = model.flatten(z)
    assert w.shape == (2, 24)
    for image, row, column, channel in np.ndindex(2, 2, 3, 4):
        assert w[image, (channel * 2 + row) * 3 + column] == z[image, row, column, channel]
    np.testing.assert_array_equal(model.unflatten(w, (2, 3, 4)), z)


@pytest.mark.parametrize(("size", "factor"), [(0, 8), (4, 8), (12, 8), (2, 8)])
def test_a_size_that_the_levels_do_not_divide_is_refused(size, factor):
    stage = {**STAGE, "channels": (4, 4, 4)}
    message = f"size {size} is not a multiple of {factor}, by which these levels divide it"
    denoiser = {**DENOISER, "channels": (4, 4)}
    with pytest.raises(ValueError, match=message):
        model.networks(size=size, first_stage=stage, denoiser=denoiser)
    assert model.networks(size=8, first_stage=stage, denoiser=denoiser).shape == (2, 2, 3)


def test_schedules_go_by_name():
    np.testing.assert_array_equal(model.signal_of("linear"), diffusion.linear())
    np.testing.assert_array_equal(model.signal_of("cosine"), diffusion.cosine())
    with pytest.raises(ValueError, match=r"schedule 'square' is not one of \('linear', 'cosine'\)"):
        model.make(**{**FIELDS, "schedule": "square"})


@pytest.mark.parametrize("steps", [0, 1001])
def test_steps_that_the_schedule_does_not_have_are_refused(steps):
    with pytest.raises(ValueError, match=f"got {steps} steps, expected 1 … 1000"):
        model.make(**{**FIELDS, "steps": steps})


def test_the_schedule_and_its_steps_are_used(monkeypatch, key):
    """A denoiser that says zero divides by √ā, here in one step of the cosine from time 1 to time 0."""
    monkeypatch.setattr(model, "denoise", lambda _unet, _params, z, _times: jnp.zeros_like(z))
    made = model.make(**{**FIELDS, "schedule": "cosine", "steps": 1, "eta": 0.0})
    noise = model.flatten(jax.random.normal(rng.stream(key, "noise"), (ROWS, 4, 4, 3)))
    table = wide(diffusion.cosine())
    near(made.sample(PARAMS, key, ROWS), math.sqrt(table[0] / table[1]) * noise, 1e-6)
