"""The family of damages: each part is its operation, in the promised order, with the right gradient."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradients import assert_gradient

from latentfp import rng
from latentfp.augment import damage
from latentfp.augment.blur import gaussian_blur
from latentfp.augment.codecs import jpeg
from latentfp.augment.colour import brightness, contrast
from latentfp.augment.damage import NONE, Damage
from latentfp.augment.geometry import rotate, warp
from latentfp.augment.noise import gaussian_noise
from latentfp.pixels import round_to_8bit, to_pixels

# Three operations round values of at most 2 in float32, eps32 = 6e-8 each.
FLOAT32 = 1e-6

inflict, degrade, compressed = jax.jit(damage.inflict), jax.jit(damage.degrade), jax.jit(jpeg)


@pytest.fixture
def image():
    """Values of a file, each moved by up to 0.4 grey levels: rounding brings them back."""
    draw = np.random.default_rng(5)
    levels = draw.integers(0, 256, (24, 32, 3)) + draw.uniform(-0.4, 0.4, (24, 32, 3))
    return jnp.asarray(np.clip(levels, 0, 255) / 127.5 - 1, jnp.float32)


def assert_same_jpeg(found, expected):
    """Another fusion may move a coefficient across a half, and then a block of some pixels differs."""
    assert np.mean(np.abs(found - expected) > 1e-5) < 0.1


def test_none_is_only_the_rounding_to_8_bits(image, key):
    np.testing.assert_array_equal(to_pixels(inflict(key, image, NONE)), to_pixels(image))
    np.testing.assert_allclose(damage.distort(image, NONE), image, rtol=0, atol=FLOAT32)


def test_values_beyond_the_range_are_limited_first(image):
    expected = gaussian_blur(jnp.clip(3 * image, -1, 1), sigma=1.0, kernel_size=25)
    np.testing.assert_allclose(damage.distort(3 * image, Damage(blur=1.0)), expected, rtol=0, atol=FLOAT32)


@pytest.mark.parametrize(
    ("harm", "operation"),
    [
        (Damage(degrees=-12.0), partial(rotate, degrees=-12.0)),
        (Damage(scale=0.7), partial(warp, scale=0.7)),
        (Damage(down=0.1, right=-0.2), partial(warp, shift=(0.1, -0.2))),
        (Damage(blur=1.5), partial(gaussian_blur, sigma=1.5, kernel_size=25)),
        (Damage(brightness=0.6), partial(brightness, factor=0.6)),
        (Damage(contrast=1.8), partial(contrast, factor=1.8)),
    ],
    ids=["degrees", "scale", "shift", "blur", "brightness", "contrast"],
)
def test_a_smooth_part_alone_is_its_operation(image, key, harm, operation):
    expected = operation(image)
    np.testing.assert_allclose(damage.distort(image, harm), expected, rtol=0, atol=FLOAT32)
    levels = np.abs(inflict(key, image, harm) - round_to_8bit(expected)) * 127.5
    assert levels.max() < 1.01, "at most the other side of a half"
    assert (levels > 0.5).mean() < 1e-3


def test_noise_and_jpeg_alone_are_their_operations(image, key):
    plain, noisy = (round_to_8bit(gaussian_noise(rng.stream(key, "a"), image, std=std)) for std in (0.0, 0.1))
    found = degrade(rng.stream(key, "a"), image, Damage(noise=0.1))
    np.testing.assert_allclose(found, noisy, rtol=0, atol=1.01 / 127.5)
    assert np.mean(np.abs(found - noisy) > FLOAT32) < 1e-3, "values at a half may fall to either side"
    assert_same_jpeg(degrade(key, image, Damage(quality=30.0)), compressed(plain, quality=30.0))
    found = degrade(rng.stream(key, "a"), image, Damage(noise=0.1, quality=30.0))
    assert_same_jpeg(found, compressed(noisy, quality=30.0))


def test_the_parts_come_in_their_order(image, key):
    """Brightness and contrast would commute but for the limits, so that many values meet them here."""
    harm = Damage(5.0, 0.8, 0.05, -0.02, 1.0, 1.9, 0.7, 0.1, 40.0)
    moved = warp(image, degrees=5.0, scale=0.8, shift=(0.05, -0.02))
    lit = brightness(gaussian_blur(moved, sigma=1.0, kernel_size=25), factor=1.9)
    smooth = damage.distort(image, harm)
    np.testing.assert_allclose(smooth, contrast(lit, factor=0.7), rtol=0, atol=FLOAT32)
    whole, last = inflict(rng.stream(key, "a"), image, harm), degrade(rng.stream(key, "a"), smooth, harm)
    assert_same_jpeg(whole, last)


def test_coordinates_of_none_are_exactly_zero():
    np.testing.assert_array_equal(damage.coordinates(NONE), np.zeros(damage.SIZE))
    np.testing.assert_array_equal(damage.from_coordinates(jnp.zeros(damage.SIZE)), NONE)


def test_coordinates_have_their_scales_and_their_order():
    """A decoder was trained on these numbers: another order or scale makes its readings wrong."""
    harm = Damage(10.0, 0.75, 0.125, -0.125, 2.0, 2.0, 0.5, 0.3, 50.0)
    np.testing.assert_allclose(damage.coordinates(harm), [1, 1, 1, -1, 2, 2, -2, 3, 2], rtol=1e-6)


def test_impossible_coordinates_give_the_nearest_strengths():
    harm = damage.from_coordinates(jnp.asarray([0.0, 8, 0, 0, -1, 0, 0, -1, -2]))
    np.testing.assert_allclose(np.asarray(harm), np.asarray(Damage(scale=0.05)))
    assert damage.from_coordinates(jnp.full(damage.SIZE, 9.0)).quality == 1


@pytest.mark.parametrize("name", Damage._fields[:7])
def test_the_gradient_by_a_strength_is_that_of_finite_differences(name):
    """Values stay within the limits, and no place lies on a pixel's centre or at the border."""
    small = 0.3 * np.random.default_rng(7).uniform(-1, 1, (13, 18, 3))
    harm = Damage(4.0, 0.7, 0.03, -0.02, 0.9, 1.1, 0.8)

    def smooth(strength):
        return damage.distort(jnp.asarray(small), harm._replace(**{name: strength}))

    assert_gradient(smooth, getattr(harm, name))


def test_gradients_at_no_damage_are_finite(image, key):
    def total(values):
        return jnp.sum(damage.inflict(key, image, damage.from_coordinates(values)) ** 2)

    assert np.isfinite(jax.jit(jax.grad(total))(jnp.zeros(damage.SIZE))).all()


def test_rounding_passes_gradients_straight_through(image, key):
    weights = jax.random.normal(rng.stream(key, "weights"), image.shape)
    inner = 0.5 * image

    def weighed(image, std):
        return jnp.vdot(weights, degrade(rng.stream(key, "a"), image, Damage(noise=std)))

    by_image, by_std = jax.grad(weighed, argnums=(0, 1))(inner, 0.01)
    np.testing.assert_array_equal(by_image, weights)
    unit = gaussian_noise(rng.stream(key, "a"), jnp.zeros_like(inner), std=0.01) / 0.01
    np.testing.assert_allclose(
        by_std, jnp.vdot(weights, unit), rtol=1e-4
    )  # a sum of 2304 terms of both signs


def test_the_gradient_through_jpeg_is_that_of_jpeg(image, key):
    weights = jax.random.normal(rng.stream(key, "weights"), image.shape)
    inner = round_to_8bit(0.5 * image)
    harmed = jax.grad(lambda x: jnp.vdot(weights, degrade(key, x, Damage(quality=60.0))))(inner)
    expected = jax.grad(lambda x: jnp.vdot(weights, compressed(x, quality=60.0)))(inner)
    assert_same_jpeg(harmed, expected)
    assert np.mean(np.abs(harmed) > 0.01) > 0.5
