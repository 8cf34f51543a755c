"""The mixtures of other systems against chains written out here."""

import math
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from latentfp import rng
from latentfp.augment import published
from latentfp.augment.blur import gaussian_blur
from latentfp.augment.codecs import libjpeg
from latentfp.augment.colour import brightness
from latentfp.augment.geometry import crop_and_resize, random_crop_and_resize, rotate
from latentfp.augment.noise import gaussian_noise
from latentfp.augment.overlay import random_erase
from latentfp.augment.suites import MIXTURES
from latentfp.pixels import to_float, to_pixels

APPLY = {attack.name: attack.apply for attack in MIXTURES}


@pytest.fixture
def pixels():
    """Smooth, so that a coefficient that falls to the other side of a half changes little."""
    y, x = np.meshgrid(np.arange(32) / 32, np.arange(32) / 32, indexing="ij")
    return np.stack([90 + 60 * np.sin(5 * x + y), 80 + 50 * np.cos(6 * y), 60 + 50 * x], axis=-1).astype(
        np.uint8
    )


def stage(key, index):
    return rng.stream(key, "attack/stage", index)


def step(key, index):
    return rng.stream(key, "attack/step", index)


def floats(pixels):
    return jnp.asarray(to_float(pixels))


def filed(image):
    return np.asarray(to_pixels(image))


def assert_close(found, expected, mean):
    """Another fusion may move a value across a half: one level, on few pixels; JPEG makes some more of it."""
    assert np.abs(found.astype(int) - expected).mean() <= mean


def waves_geometric(key, pixels, first=0):
    pixels = filed(rotate(floats(pixels), degrees=22.5))
    crop, erasing = (step(stage(key, first + index), 0) for index in (1, 2))
    pixels = filed(random_crop_and_resize(crop, floats(pixels), scale=math.sqrt(0.75)))
    return filed(random_erase(erasing, floats(pixels), area=0.125, aspect=1.0))


def waves_photometric(pixels):
    return np.asarray(
        ImageEnhance.Contrast(ImageEnhance.Brightness(Image.fromarray(pixels)).enhance(1.5)).enhance(1.5)
    )


def waves_degradation(key, pixels, first=0):
    """Ten pixels of 512 are 0.625 of 32."""
    pixels = filed(gaussian_blur(floats(pixels), sigma=0.625, kernel_size=25))
    noise = step(stage(key, first + 1), 0)
    return libjpeg(filed(gaussian_noise(noise, floats(pixels), std=0.1)), quality=50)


def test_kim_2021(key, pixels):
    image = crop_and_resize(gaussian_blur(floats(pixels), sigma=3.0, kernel_size=25), scale=0.8)
    noisy = gaussian_noise(step(stage(key, 0), 2), image, std=0.1)
    assert_close(APPLY["Kim 2021"](key, pixels), libjpeg(filed(noisy), quality=75), mean=0.1)


def test_stable_signature_keeps_half_of_the_area(key, pixels):
    lit = brightness(crop_and_resize(floats(pixels), scale=math.sqrt(0.5)), factor=1.5)
    assert_close(APPLY["Stable Signature"](key, pixels), libjpeg(filed(lit), quality=80), mean=0.1)
    inner = np.zeros((32, 32, 3), np.uint8)
    inner[4:27, 4:27] = 200  # 23 of 32 pixels a side are 0.52 of the area
    assert (APPLY["Stable Signature"](key, inner) > 250).all()


def test_waves_geometric(key, pixels):
    assert_close(APPLY["WAVES geometric"](key, pixels), waves_geometric(key, pixels), mean=0.01)


def test_waves_photometric_is_pillows(key, pixels):
    found = APPLY["WAVES photometric"](key, pixels).astype(int)
    # Pillow cuts to whole levels twice, of which the second operation makes 1.5; its mean grey is whole too.
    assert np.abs(found - waves_photometric(pixels)).max() <= 4


def test_waves_degradation(key, pixels):
    assert_close(APPLY["WAVES degradation"](key, pixels), waves_degradation(key, pixels), mean=0.1)


def test_waves_all_is_the_three_in_order(key, pixels):
    parts = waves_degradation(key, waves_photometric(waves_geometric(key, pixels)), first=5)
    # Pillow's cuts in the middle are worth 1.8 levels at the end.
    assert_close(APPLY["WAVES all"](key, pixels), parts, mean=3)


def test_the_blur_of_waves_grows_with_the_image(key):
    """A disc of half the image is blurred alike at every size: the same share of it is grey."""

    def grey(side):
        y, x = np.meshgrid(*2 * [np.linspace(-1, 1, side)], indexing="ij")
        disc = np.repeat(255 * (x**2 + y**2 < 0.5)[..., None], 3, axis=-1).astype(np.uint8)
        found = APPLY["WAVES degradation"](key, disc)[..., 0].astype(int)
        return np.mean((found > 64) & (found < 192))

    assert abs(grey(256) / grey(128) - 1) < 0.2


def test_wouaf_is_its_steps_in_order(key, pixels):
    noise = partial(gaussian_noise, std=0.4)
    image = floats(pixels)
    steps = (
        published.wouaf_shift,
        published.wouaf_turn,
        published.wouaf_blur,
        published.wouaf_lighten,
        noise,
        published.wouaf_erase,
    )
    for index, operation in enumerate(steps):
        image = operation(step(stage(key, 0), index), image)
    assert_close(APPLY["WOUAF"](key, pixels), libjpeg(filed(image), quality=50), mean=0.1)
