"""Orientations, colour profiles and first frames, against float64 formulas written here."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from latentfp.data.files import read_image

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


def srgb_curve(light):
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: stored[::-1].transpose(1, 0, 2),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: stored[:, ::-1].transpose(1, 0, 2),
    9: lambda stored: stored,
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientations(kind, orientation, tmp_path):
    """EXIF: which side of the scene row 0 and column 0 of the file are; 6 is row 0 right, column 0 top."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(COLOURS)
    stored = read(tmp_path, image, kind)
    upright = read(tmp_path, image, kind, exif=exif)
    np.testing.assert_array_equal(upright, UPRIGHT[orientation](stored))


def test_orientation_comes_with_wide_greys_and_alpha(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = RANDOM.integers(0, 2**16, (HEIGHT, WIDTH), dtype=np.uint16)
    expected = UPRIGHT[6](three(np.round(wide / 257)))
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(wide), "PNG", exif=exif), expected)
    np.testing.assert_array_equal(
        read(
            tmp_path,
            Image.fromarray(np.dstack([COLOURS, 255 * (ALPHA > 99)]).astype(np.uint8)),
            "PNG",
            exif=exif,
        ),
        UPRIGHT[6](np.where(three(ALPHA > 99), COLOURS, 255)),
    )


def test_broken_exif_is_ignored(tmp_path):
    pixels = read(tmp_path, Image.fromarray(COLOURS), "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01")
    np.testing.assert_array_equal(pixels, COLOURS)


def profile(channels, tags):
    """A version 2 matrix or grey profile: header, table of tags, tags."""
    body, table, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += struct.pack(">4sII", name, at + len(body), len(data))
        body += padded
    size = at + len(body)
    header = struct.pack(
        ">I4sI4s4s4s12s4s", size, b"none", 0x02400000, b"mntr", channels, b"XYZ ", bytes(12), b"acsp"
    )
    header += bytes(28) + struct.pack(">iii", *map(fixed, WHITE)) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + body


def fixed(value):
    return round(value * 65536)


def xyz(values):
    return struct.pack(">4sIiii", b"XYZ ", 0, *map(fixed, values))


def gamma(value):
    return struct.pack(">4sIIH", b"curv", 0, 1, round(value * 256))


WHITE = np.array([0.9642, 1.0, 0.8249])  # D50, the connection space
SRGB = np.array([[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7139]])
ADOBE = np.array([[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]])


def adobe_profile():
    primaries = {name: xyz(ADOBE[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma(2.2))
    return profile(b"RGB ", {b"wtpt": xyz(WHITE), **primaries, **curves})


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_a_wide_gamut_is_converted(kind, tmp_path):
    image = Image.fromarray(COLOURS)
    stored = read(tmp_path, image, kind)
    pixels = read(tmp_path, image, kind, icc_profile=adobe_profile())
    light = (stored / 255.0) ** 2.2 @ ADOBE.T @ np.linalg.inv(SRGB).T
    expected = 255 * srgb_curve(np.clip(light, 0, 1))
    inside = ((light > 0.01) & (light < 1)).all(axis=2)  # near black the 8-bit curve is coarse
    assert inside.sum() > 80
    np.testing.assert_allclose(pixels[inside], expected[inside], atol=PROFILE_LEVELS)
    assert np.abs(pixels.astype(int) - stored)[inside].max() > 20


def test_alpha_survives_a_profile(tmp_path):
    solid = np.broadcast_to(np.array([180, 90, 60], dtype=np.uint8), COLOURS.shape)
    plain = read(tmp_path, Image.fromarray(solid), "PNG", icc_profile=adobe_profile())
    image = Image.fromarray(np.dstack([solid, ALPHA]))
    pixels = read(tmp_path, image, "PNG", icc_profile=adobe_profile())
    np.testing.assert_allclose(pixels, on_white(plain, ALPHA), atol=ONE_LEVEL)


def test_a_grey_profile_is_applied(tmp_path):
    bright = profile(b"GRAY", {b"wtpt": xyz(WHITE), b"kTRC": gamma(1.5)})
    pixels = read(tmp_path, Image.fromarray(GREYS), "PNG", icc_profile=bright)
    expected = three(255 * srgb_curve((GREYS / 255) ** 1.5))
    inside = three(GREYS > 16)  # near black the 8-bit curve is coarse
    np.testing.assert_allclose(pixels[inside], expected[inside], atol=PROFILE_LEVELS)


def test_srgb_leaves_every_pixel_alone(tmp_path):
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = read(tmp_path, Image.fromarray(COLOURS), "PNG", icc_profile=own)
    np.testing.assert_array_equal(pixels, COLOURS)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_broken_or_foreign_profile_is_ignored(kind, tmp_path):
    broken = read(tmp_path, Image.fromarray(COLOURS), kind, icc_profile=b"no profile")
    np.testing.assert_array_equal(broken, COLOURS)
    foreign = read(tmp_path, Image.fromarray(GREYS), kind, icc_profile=adobe_profile())
    np.testing.assert_array_equal(foreign, three(GREYS))


def test_a_multi_picture_jpeg_is_its_photograph(tmp_path):
    first, second = Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)
    pixels = read(tmp_path, first, "MPO", save_all=True, append_images=[second])
    np.testing.assert_array_equal(pixels, read(tmp_path, first, "JPEG"))


def test_single_frames_of_animated_formats(tmp_path):
    for kind in ("GIF", "WEBP", "PNG"):
        buffer = io.BytesIO()
        Image.fromarray(GREYS).save(
            buffer, kind, save_all=True, **({"lossless": True} if kind == "WEBP" else {})
        )
        (tmp_path / "image").write_bytes(buffer.getvalue())
        np.testing.assert_array_equal(read_image(tmp_path / "image", size=None), three(GREYS))
