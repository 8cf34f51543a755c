"""Every mode and kind of transparency, against float64 formulas written here."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from latentfp.data.files import UnreadableImage, read_image

RANDOM = np.random.default_rng(11)
HEIGHT, WIDTH = 16, 20
COLOURS = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
GREYS = RANDOM.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
ALPHA = RANDOM.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
ALPHA[0], ALPHA[1] = 0, 255
ONE_LEVEL = 1.0  # Pillow composites and converts in 8-bit integers
PROFILE_LEVELS = 1.5  # littleCMS interpolates 8-bit curves


def read(tmp_path, image, kind, **options):
    image.save(tmp_path / "image", kind, **options)
    return read_image(tmp_path / "image", size=None)


def three(grey):
    return np.repeat(np.asarray(grey)[:, :, None], 3, axis=2)


def on_white(colours, alpha):
    share = alpha[:, :, None] / 255
    return share * colours + (1 - share) * 255


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_colours_are_exact(kind, tmp_path):
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(COLOURS), kind, **options), COLOURS)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF"])
def test_greys_and_bits_are_exact(kind, tmp_path):
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(GREYS), kind), three(GREYS))
    bits = GREYS > 127
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(bits), kind), three(255 * bits))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_palettes(kind, tmp_path):
    palette = RANDOM.integers(0, 256, (256, 3), dtype=np.uint8)
    image = Image.fromarray(GREYS)
    image.putpalette(palette.tobytes())
    np.testing.assert_array_equal(read(tmp_path, image, kind), palette[GREYS])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_with_alpha_is_seen_on_white(kind, tmp_path):
    image = Image.merge("LA", [Image.fromarray(GREYS), Image.fromarray(ALPHA)])
    expected = on_white(three(GREYS), ALPHA)
    np.testing.assert_allclose(read(tmp_path, image, kind), expected, atol=ONE_LEVEL)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_colour_with_alpha_is_seen_on_white(kind, tmp_path):
    options = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(np.dstack([COLOURS, ALPHA]))
    pixels = read(tmp_path, image, kind, **options)
    np.testing.assert_allclose(pixels, on_white(COLOURS, ALPHA), atol=ONE_LEVEL)
    np.testing.assert_array_equal(pixels[0], 255)
    np.testing.assert_array_equal(pixels[1], COLOURS[1])


def test_palette_with_alpha(tmp_path):
    palette = RANDOM.integers(0, 256, (256, 3), dtype=np.uint8)
    image = Image.fromarray(GREYS)
    image.putpalette(palette.tobytes())
    alpha = RANDOM.integers(0, 256, 256, dtype=np.uint8)
    expected = on_white(palette[GREYS], alpha[GREYS])
    pixels = read(tmp_path, image, "PNG", transparency=alpha.tobytes())
    np.testing.assert_allclose(pixels, expected, atol=ONE_LEVEL)
    for kind in ("PNG", "GIF"):
        pixels = read(tmp_path, image, kind, transparency=int(GREYS[2, 3]))
        np.testing.assert_array_equal(pixels, np.where(three(GREYS[2, 3] == GREYS), 255, palette[GREYS]))
    layered = Image.new("PA", (WIDTH, HEIGHT))
    layered.putpalette(palette.tobytes())
    layered.putdata(list(zip(GREYS.ravel().tolist(), ALPHA.ravel().tolist(), strict=True)))
    pixels = read(tmp_path, layered, "TIFF")
    np.testing.assert_allclose(pixels, on_white(palette[GREYS], ALPHA), atol=ONE_LEVEL)


def test_one_colour_declared_transparent(tmp_path):
    seen = GREYS[4, 5] != GREYS
    pixels = read(tmp_path, Image.fromarray(GREYS), "PNG", transparency=int(GREYS[4, 5]))
    np.testing.assert_array_equal(pixels, np.where(three(seen), three(GREYS), 255))
    pixels = read(tmp_path, Image.fromarray(COLOURS), "PNG", transparency=tuple(map(int, COLOURS[4, 5])))
    seen = (COLOURS[4, 5] != COLOURS).any(axis=2)
    np.testing.assert_array_equal(pixels, np.where(three(seen), COLOURS, 255))
    wide = GREYS.astype(np.uint16) * 200
    pixels = read(tmp_path, Image.fromarray(wide), "PNG", transparency=int(wide[4, 5]))
    seen = wide != wide[4, 5]
    np.testing.assert_array_equal(pixels, np.where(three(seen), three(np.round(wide / 257)), 255))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_every_16_bit_grey_is_rounded(kind, tmp_path):
    wide = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    pixels = read(tmp_path, Image.fromarray(wide), kind)
    np.testing.assert_array_equal(pixels, three(np.round(wide.astype(np.float64) / 257)))


def test_the_byte_order_of_16_bits(tmp_path):
    wide = RANDOM.integers(0, 2**16, (HEIGHT, WIDTH), dtype=np.uint16)
    swapped = Image.frombytes("I;16B", (WIDTH, HEIGHT), wide.astype(">u2").tobytes())
    np.testing.assert_array_equal(read(tmp_path, swapped, "TIFF"), three(np.round(wide / 257)))


def test_16_bit_colours_keep_their_high_byte(tmp_path):
    wide = RANDOM.integers(0, 2**16, (HEIGHT, WIDTH, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
    ]
    chunks = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    end = b"\0\0\0\0IEND\xaeB`\x82"
    (tmp_path / "image").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + end)
    np.testing.assert_array_equal(read_image(tmp_path / "image", size=None), wide >> 8)


@pytest.mark.parametrize("kind", ["TIFF", "PPM"])
def test_floats_from_0_to_1(kind, tmp_path):
    values = RANDOM.uniform(0, 1, (HEIGHT, WIDTH)).astype(np.float32)
    values[0, :3] = 0, 1, 0.5
    pixels = read(tmp_path, Image.fromarray(values), kind)
    np.testing.assert_array_equal(pixels, three(np.round(255 * values.astype(np.float64))))


def test_negative_floats_are_refused(tmp_path):
    values = np.full((4, 4), -0.25, dtype=np.float32)
    with pytest.raises(UnreadableImage, match=r"its values span -0\.25 … -0\.25 where 0 … 1"):
        read(tmp_path, Image.fromarray(values), "TIFF")


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_inks(kind, tmp_path):
    inks = RANDOM.integers(0, 256, (1, 1, 4), dtype=np.uint8)
    image = Image.fromarray(np.tile(inks, (HEIGHT, WIDTH, 1)), mode="CMYK")
    options = {"quality": 100} if kind == "JPEG" else {}
    pixels = read(tmp_path, image, kind, **options)
    light = 1 - inks.astype(np.float64) / 255
    expected = np.broadcast_to(255 * light[..., :3] * light[..., 3:], pixels.shape)
    np.testing.assert_allclose(pixels, expected, atol=2 * ONE_LEVEL)


def test_luminance_and_chroma(tmp_path):
    image = Image.fromarray(COLOURS).convert("YCbCr")
    y, blue, red = np.moveaxis(np.asarray(image).astype(np.float64), 2, 0)
    channels = y + 1.402 * (red - 128), None, y + 1.772 * (blue - 128)
    green = (y - 0.299 * channels[0] - 0.114 * channels[2]) / 0.587
    expected = np.clip(np.dstack([channels[0], green, channels[2]]), 0, 255)
    np.testing.assert_allclose(read(tmp_path, image, "TIFF"), expected, atol=ONE_LEVEL)
    smooth = np.full((HEIGHT, WIDTH, 3), (200, 90, 40), dtype=np.uint8)
    pixels = read(tmp_path, Image.fromarray(smooth), "JPEG", quality=100)
    np.testing.assert_allclose(pixels, smooth, atol=2 * ONE_LEVEL)


def srgb_curve(light):
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def test_lightness_of_lab(tmp_path):
    lightness = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    flat = Image.new("L", (WIDTH, HEIGHT), 128)
    image = Image.merge("LAB", [Image.fromarray(lightness), flat, flat])
    star = lightness / 255 * 100
    light = np.where(star > 8, ((star + 16) / 116) ** 3, star / 903.3)
    pixels = read(tmp_path, image, "TIFF")
    np.testing.assert_allclose(pixels, three(255 * srgb_curve(light)), atol=PROFILE_LEVELS)
