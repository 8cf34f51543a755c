"""A generator's own encoder: on the linear generator, where it is exact, and with noise, where it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import BITS, D
from linear_subject import draw_thetas, images_at, make_subject

from latentfp import rng
from latentfp.attribution import encoder
from latentfp.attribution.cascade import make_cascade, run
from latentfp.attribution.estimate import numbered
from latentfp.attribution.observation import ROUNDING
from latentfp.attribution.whitening import latents
from latentfp.choices import Method, Stage
from latentfp.types import Images, Latents, Params

SLOPE, CENTRE, NOISE = 0.7, 0.4, 0.5


@pytest.fixture(scope="module")
def subject():
    return make_subject(size=16, sigma=2.0, encoder=True)


@pytest.fixture(scope="module")
def noisy(subject):
    """Its encoder reads every latent smaller, with an offset and with noise that the image decides."""
    exact, space = subject.generator.encode, subject.whitened

    def encode(params: Params, images: Images) -> Latents:
        theta = encoder.coordinates(space, exact(params, images))
        seeds = (jnp.sum(images, axis=(1, 2, 3)) * 1e4).astype(int)
        noise = jax.vmap(lambda seed: jax.random.normal(jax.random.key(seed), (D,)))(seeds)
        return latents(space, SLOPE * theta + CENTRE + NOISE * noise)

    return subject._replace(generator=subject.generator._replace(encode=encode))


def calibrated(subject):
    key = rng.stream(rng.root(0), "test")
    return encoder.calibrate(subject.generator, subject.params, subject.whitened, key, bits=BITS)


def test_coordinates_are_those_of_the_latents(subject):
    theta = jnp.asarray(draw_thetas(4))
    w = latents(subject.whitened, theta)
    np.testing.assert_allclose(encoder.coordinates(subject.whitened, w), theta, atol=1e-4)


def test_an_exact_encoder_reads_code_and_content(subject):
    theta = draw_thetas(5)
    calibration = calibrated(subject)
    images = jnp.asarray(images_at(subject, theta))
    found = encoder.read(subject.generator, subject.params, subject.whitened, calibration, images)
    np.testing.assert_array_equal(np.sign(found.logits), theta[:, -BITS:])
    rounding = ROUNDING / 0.5 / np.linalg.norm(subject.whitened.rows, axis=1)  # 0.5: the generator's gain
    assert (np.abs(found.thetas - theta) < 5 * rounding).all()
    assert (np.asarray(found.residuals) < 1.3).all()
    np.testing.assert_allclose(calibration.slope, 1, atol=0.01)
    np.testing.assert_allclose(calibration.centre, 0, atol=0.01)


def test_slope_centre_and_noise_are_measured(noisy):
    """Standard errors on 512 samples: 0.022 of slope and centre, 6 % of a variance; bounds are 5 of them."""
    found = calibrated(noisy)
    np.testing.assert_allclose(found.slope, SLOPE, atol=0.11)
    np.testing.assert_allclose(found.centre, CENTRE, atol=0.11)
    np.testing.assert_allclose(found.variance, NOISE**2, rtol=0.32)


def test_the_bits_of_a_noisy_encoder_mean_what_they_say(noisy):
    """The mean confidence of 1500 images' bits is the share of right ones, within 4 standard errors."""
    theta = draw_thetas(1500, seed=8)
    calibration, images = calibrated(noisy), jnp.asarray(images_at(noisy, theta))
    found = encoder.read(noisy.generator, noisy.params, noisy.whitened, calibration, images)
    right = np.sign(found.logits) == theta[:, -BITS:]
    stated = np.asarray(jax.nn.sigmoid(jnp.abs(found.logits)))
    assert 0.85 < right.mean() < 0.97
    error = np.sqrt(right.mean() * (1 - right.mean()) / right.size)
    assert abs(right.mean() - stated.mean()) < 4 * error + 0.005  # and what the calibration is off by
    decided = np.abs(np.asarray(found.logits)) > 3
    assert decided.mean() > 0.2
    assert abs(right[decided].mean() - stated[decided].mean()) < 0.01


def test_the_stage_answers_in_the_latents_units(subject):
    theta = draw_thetas(3)
    cascade = make_cascade(subject, None, Method.ENCODER, key=rng.root(1))
    images = images_at(subject, theta)
    found = run(cascade, images, numbered(0, 3))
    np.testing.assert_array_equal(found.stage, Stage.ENCODER)
    np.testing.assert_array_equal(found.passes, 1)
    np.testing.assert_array_equal(found.iterations, 1)
    content = theta[:, :-BITS] * np.asarray(subject.space.content_stds)
    np.testing.assert_allclose(found.estimate.content, content, atol=0.05)


def test_images_of_nothing_have_a_status(subject):
    images = images_at(subject, draw_thetas(2))
    images[1, 0, 0, 0] = np.nan
    cascade = make_cascade(subject, None, Method.ENCODER, key=rng.root(1))
    found = run(cascade, images, numbered(0, 2))
    assert found.estimate.status.tolist() == [0, 1]


def test_a_generator_without_an_encoder_is_refused():
    with pytest.raises(ValueError, match="has no encoder"):
        calibrated(make_subject(size=16, sigma=2.0))
