"""The suites of other publications against their settings, restated with Pillow where it can do them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from latentfp import rng
from latentfp.augment import published
from latentfp.augment.codecs import libjpeg
from latentfp.augment.suites import suite

STABLE_SIGNATURE = {attack.name: attack.apply for attack in suite("stable_signature")}
WAVES = {attack.name: attack.apply for attack in suite("waves")}
MARKDIFFUSION = {attack.name: attack.apply for attack in suite("markdiffusion")}
ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
    "sharpness": ImageEnhance.Sharpness,
}


@pytest.fixture
def pixels():
    y, x = np.meshgrid(np.arange(40) / 40, np.arange(48) / 48, indexing="ij")
    waves = [90 + 60 * np.sin(5 * x + y), 80 + 50 * np.cos(6 * y), 60 + 50 * x]
    return np.stack(waves, axis=-1).astype(np.uint8)


def assert_near(found, expected, levels):
    assert np.abs(found.astype(int) - np.asarray(expected)).max() <= levels


def test_the_rows_of_stable_signature():
    factors = [f"{name} {by}" for name in ENHANCERS for by in ("1.5", "2")]
    shapes = ["crop 0.5", "crop 0.1", "rotation 25", "rotation 90", "resize 0.5", "resize 0.1"]
    expected = ["none", *shapes, "JPEG 80", "JPEG 50", *factors, "text", "combination"]
    assert list(STABLE_SIGNATURE) == expected
    assert len(expected) == 19


@pytest.mark.parametrize("name", ENHANCERS)
@pytest.mark.parametrize("factor", ["1.5", "2"])
def test_factors_are_pillows(name, factor, key, pixels):
    expected = ENHANCERS[name](Image.fromarray(pixels)).enhance(float(factor))
    assert_near(STABLE_SIGNATURE[f"{name} {factor}"](key, pixels), expected, levels=2)


def test_crops_and_resizings_keep_an_area(key, pixels):
    for area in (0.5, 0.1):
        side = math.sqrt(area)
        h, w = round(40 * side), round(48 * side)
        top, left = (40 - h) // 2, (48 - w) // 2
        picture = Image.fromarray(pixels)
        window = picture.crop((left, top, left + w, top + h)).resize((48, 40), Image.Resampling.BILINEAR)
        small = picture.resize((w, h), Image.Resampling.BILINEAR).resize((48, 40), Image.Resampling.BILINEAR)
        assert_near(STABLE_SIGNATURE[f"crop {area}"](key, pixels), window, levels=1)
        assert_near(STABLE_SIGNATURE[f"resize {area}"](key, pixels), small, levels=2)


def test_a_quarter_turn_is_exact(key):
    square = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    assert_near(STABLE_SIGNATURE["rotation 90"](key, square), np.rot90(square), levels=1)


def test_text_is_red_and_in_the_lower_half(key, pixels):
    pixels = pixels.repeat(5, axis=0).repeat(5, axis=1)
    written = STABLE_SIGNATURE["text"](key, pixels)
    changed = (written != pixels).any(axis=-1)
    assert not changed[:100].any()
    assert 0.02 < changed.mean() < 0.2
    assert (written[changed][:, 0] >= pixels[changed][:, 0]).all()
    assert (written == [255, 0, 0]).all(axis=-1).any()


def test_jpeg(key, pixels):
    np.testing.assert_array_equal(STABLE_SIGNATURE["JPEG 50"](key, pixels), libjpeg(pixels, quality=50))
    np.testing.assert_array_equal(WAVES["JPEG at 1"](key, pixels), libjpeg(pixels, quality=10))
    np.testing.assert_array_equal(MARKDIFFUSION["JPEG 95"](key, pixels), libjpeg(pixels, quality=95))


def test_the_rows_of_waves():
    single = ["rotation", "crop", "erasing", "brightness", "contrast", "blur", "noise", "JPEG"]
    expected = [f"{name} at {strength}" for strength in ("0.5", "1") for name in single]
    expected += ["photometric", "geometric", "degradation", "all", "autoencoded"]
    expected += ["regenerated", "regenerated twice", "regenerated 4 times", "adversarial 2", "adversarial 8"]
    assert list(WAVES) == ["none", *expected]


def test_the_strongest_of_waves_are_the_ends_of_its_ranges(key, pixels):
    """45 degrees, factor 2, a quarter of the area hidden, 20 pixels of 512, std 0.1."""
    picture = Image.fromarray(pixels)
    turned = np.asarray(picture.rotate(45, Image.Resampling.BILINEAR)).astype(int)
    found = WAVES["rotation at 1"](key, pixels).astype(int)
    assert np.median(np.abs(found - turned)) <= 1
    assert_near(WAVES["contrast at 1"](key, pixels), ImageEnhance.Contrast(picture).enhance(2), levels=2)
    white = np.full((64, 64, 3), 200, np.uint8)
    erased = (WAVES["erasing at 1"](key, white) == 0).all(axis=-1)
    assert erased.sum() == 32 * 32
    noise = WAVES["noise at 1"](key, np.full((64, 64, 3), 128, np.uint8)).astype(float) - 128
    # 25.5 levels, and those of rounding; five standard errors of 12288 values.
    np.testing.assert_allclose(noise.std(), math.sqrt(25.5**2 + 1 / 12), rtol=0.032)
    edge = (
        np.repeat(255 * (np.arange(64) >= 32)[None, :, None], 64, axis=0).repeat(3, axis=2).astype(np.uint8)
    )
    step = WAVES["blur at 1"](key, edge)[32, :, 0] / 255
    mean, spread = np.sum(np.diff(step) * np.arange(63)), np.sum(np.diff(step) * (np.arange(63) - 31) ** 2)
    np.testing.assert_allclose([mean, spread**0.5], [31, 2.5], rtol=0.02)  # 20 of 512 are 2.5 of 64


def test_masks_are_black_and_small(key):
    white = jnp.ones((100, 60, 3))
    hidden = np.stack(
        [np.asarray(published.mask(rng.stream(key, "m", i), white))[..., 0] == -1 for i in range(40)]
    )
    # Lengths 5 … 10 and 3 … 6, and one pixel more: 8.5 · 5.5 on average, five times, with few overlaps.
    assert 0.9 * 5 * 8.5 * 5.5 / 6000 < hidden.mean() < 1.02 * 5 * 8.5 * 5.5 / 6000
    assert hidden.mean(axis=(1, 2)).min() >= 6 * 4 / 6000
    assert hidden.mean(axis=(1, 2)).max() <= 5 * 11 * 7 / 6000


def kind(image):
    """The noise that the public code would choose, from its description."""
    grey = (np.asarray(image, np.float64).mean(axis=2) + 1) * 127.5
    edges = np.abs(np.diff(grey, axis=1)).sum() + np.abs(np.diff(grey, axis=0)).sum()
    patches = [grey[i : i + 5, j : j + 5].std() for i in range(0, 36, 5) for j in range(0, 36, 5)]
    if grey.mean() < 80:
        return 0
    return 1 if edges / grey.size > 30 else 2 if np.mean(patches) > 20 else 3


def test_adaptive_noise_looks_at_the_image():
    x = np.mgrid[:40, :40][1]
    waves = np.sin(x / 2.6)[..., None] * np.ones(3)
    draw = np.random.default_rng(0)
    images = [
        0.4 * waves - 0.7,
        draw.uniform(-1, 1, (40, 40, 3)),
        draw.uniform(-0.6, 0.6, (40, 40, 3)),
        0.7 * waves + 0.2,
        0.05 * waves,
    ]
    chosen = [int(published._noise_of(jnp.asarray(image, jnp.float32))) for image in images]
    assert chosen == [kind(image) for image in images] == [0, 1, 1, 2, 3]


@pytest.mark.parametrize(
    ("number", "level", "spread"),
    [
        (0, 60, 20.0),  # 40 levels, halved
        (1, 128, math.sqrt(0.0375 * (127**2 + 128**2))),  # a share of 0.0375 white and as many black
        (2, 128, 32.0),  # a quarter of the intensity
        (3, 128, 0.53),  # 0.75 √(128 / 256) levels
    ],
)
def test_the_noises_have_the_strength_of_their_settings(number, level, spread, key):
    image = jnp.full((64, 64, 3), level / 127.5 - 1)
    noise = np.asarray((jax.jit(published.ADAPTIVE_NOISES[number])(key, image) - image) * 127.5)
    # Five standard errors of 12288 values; of salt and pepper, of a share of 0.075 of 4096 pixels.
    np.testing.assert_allclose(noise.std(), spread, rtol=0.15 if number == 1 else 0.035)


def test_markdiffusion_is_its_settings(key, pixels):
    picture = Image.fromarray(pixels)
    turned = np.asarray(picture.rotate(30, Image.Resampling.BILINEAR)).astype(int)
    assert np.median(np.abs(MARKDIFFUSION["rotation 30"](key, pixels).astype(int) - turned)) <= 1
    window = picture.crop((5, 4, 43, 36)).resize((48, 40), Image.Resampling.BILINEAR)
    assert_near(MARKDIFFUSION["crop 0.8"](key, pixels), window, levels=1)
    noise = MARKDIFFUSION["noise 25/255"](key, np.full((64, 64, 3), 128, np.uint8)).astype(float) - 128
    np.testing.assert_allclose(noise.std(), 25, rtol=0.032)


def test_strokes_scale_with_the_image(key):
    """Ten of 5 pixels of 512: the same picture at half the size, drawn half as wide."""

    def drawn(side):
        stroked = MARKDIFFUSION["strokes"](key, np.full((side, side, 3), 128, np.uint8)).reshape(-1, 3)
        changed = stroked[(stroked != 128).any(axis=-1)]
        return len(changed) / len(stroked), np.unique(changed, axis=0)

    (small, colours), (large, same) = drawn(256), drawn(512)
    np.testing.assert_array_equal(colours, same)
    assert 7 <= len(colours) <= 10, "others may hide one"
    # 4.5 parts of a quarter of the side times 0.77 on average, and 5 of 512 wide: 0.085, less what crosses.
    assert 0.04 < small < 0.09
    np.testing.assert_allclose(large, small, rtol=0.08)  # half a pixel at the rims of 2.5
