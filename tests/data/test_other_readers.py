"""A hundred odd files that other programs open: the same pixels come out here as out of OpenCV.

All hold intact pixels; what is odd is what is said about them, or how they are packed.
"""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from test_bad_files import chunk

from latentfp.data import containers
from latentfp.data.files import UnreadableImage, read_image

HEIGHT, WIDTH = 24, 32
RANDOM = np.random.default_rng(21)
COLOURS = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
NOISE = RANDOM.bytes(3_000_000)  # cannot be compressed
SMOOTH = np.asarray(Image.fromarray(COLOURS[:6, :8]).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BROKEN_EXIF = b"II*\0\x08\0\0\0\x05\0\x12\x01"
ENDLESS_EXIF = b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHII", 0x8769, 4, 1, 8) + struct.pack(">I", 8)
LOSSY_LEVELS = 3  # two builds of libjpeg and libwebp: their fast transforms round differently


def text(keyword, content, **options):
    return chunk(b"tEXt", keyword + b"\0" + content, **options)


def profile(content, **options):
    return chunk(b"iCCP", b"icc\0\0" + zlib.compress(content), **options)


# Before a PNG's first IDAT.
PNG_METADATA = {
    "text checksum": text(b"a", b"b", checksum=1),
    "compressed text checksum": chunk(b"zTXt", b"a\0\0" + zlib.compress(b"b"), checksum=1),
    "international text checksum": chunk(b"iTXt", b"a\0\0\0\0\0b", checksum=1),
    "long text": text(b"parameters", b"word " * 2_000_000),
    "many texts": b"".join(text(b"k%d" % i, b"v") for i in range(2000)),
    "text bomb": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26))),
    "text without keyword": chunk(b"tEXt", b""),
    "text that is no deflate": chunk(b"zTXt", b"a\0\0not deflated"),
    "long broken profile": profile(NOISE),
    "long sRGB profile": profile(SRGB + bytes(2_000_000)),
    "profile checksum": profile(SRGB, checksum=1),
    "profile cut": chunk(b"iCCP", b"icc\0\0" + zlib.compress(SRGB)[:40]),
    "profile bomb": profile(bytes(2**27)),
    "broken EXIF": chunk(b"eXIf", BROKEN_EXIF),
    "endless EXIF": chunk(b"eXIf", ENDLESS_EXIF),
    "EXIF checksum": chunk(b"eXIf", BROKEN_EXIF, checksum=1),
    "empty EXIF": chunk(b"eXIf", b""),
    "private chunk": chunk(b"prVt", NOISE[:1000]),
    "no gamma": chunk(b"gAMA", bytes(4)),
    "absurd primaries": chunk(b"cHRM", b"\xff" * 32),
    "short primaries": chunk(b"cHRM", b"\0"),
    "absurd time": chunk(b"tIME", b"\xff" * 7),
    "zero density": chunk(b"pHYs", bytes(9)),
    "suggested palette": chunk(b"sPLT", b"name\0\x08" + bytes(6)),
    "checksums of everything": b"".join(
        chunk(name, b"x" * 9, checksum=2) for name in (b"pHYs", b"tIME", b"gAMA", b"sBIT", b"prVt")
    ),
}


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PNG_IMAGES = {
    "colour": Image.fromarray(COLOURS),
    "grey": Image.fromarray(COLOURS[..., 0]),
    "palette": Image.fromarray(COLOURS).quantize(16),
}


def png_with(image, metadata):
    data = encoded(image, "PNG")
    at = data.index(b"IDAT") - 4
    return data[:at] + metadata + data[at:]


def png_packed(*, size):
    """The pixels in IDAT chunks of so many bytes, and one of none."""
    data = encoded(PNG_IMAGES["colour"], "PNG")
    at = data.index(b"IDAT") - 4
    (length,) = struct.unpack(">I", data[at : at + 4])
    pixels = data[at + 8 : at + 8 + length]
    pieces = [chunk(b"IDAT", pixels[i : i + size]) for i in range(0, length, size)]
    return data[:at] + b"".join([chunk(b"IDAT", b""), *pieces]) + data[at + 12 + length :]


def segment(marker, content):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def icc(parts, *, of=None):
    return b"".join(
        segment(0xE2, b"ICC_PROFILE\0" + bytes([i + 1, of or len(parts)]) + part)
        for i, part in enumerate(parts)
    )


# After a JPEG's first marker.
JPEG_METADATA = {
    "broken EXIF": segment(0xE1, b"Exif\0\0" + BROKEN_EXIF),
    "endless EXIF": segment(0xE1, b"Exif\0\0" + ENDLESS_EXIF),
    "empty EXIF": segment(0xE1, b"Exif\0\0"),
    "EXIF after XMP": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>") + segment(0xE1, b"Exif\0\0MM\0*"),
    "broken profile in many parts": icc([NOISE[:60_000]] * 40),
    "profile without its last part": icc([SRGB[:100], SRGB[100:300]], of=3),
    "profile of no parts": segment(0xE2, b"ICC_PROFILE\0\0\0"),
    "short profile": segment(0xE2, b"ICC_PROFILE\0"),
    "sRGB profile in parts": icc([SRGB[:100], SRGB[100:]]),
    "broken pictures index": segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
    "empty pictures index": segment(0xE2, b"MPF\0"),
    "long comments": b"".join(segment(0xFE, NOISE[:65_000]) for _ in range(20)),
    "empty comment": segment(0xFE, b""),
    "broken Photoshop block": segment(0xED, b"Photoshop 3.0\x008BIM" + NOISE[:100]),
    "all applications": b"".join(segment(marker, b"own") for marker in range(0xE3, 0xEE)),
    "fill bytes": b"\xff" * 7,
}
JPEG_IMAGES = {
    "colour": encoded(Image.fromarray(SMOOTH), "JPEG", quality=90),
    "progressive": encoded(Image.fromarray(SMOOTH), "JPEG", quality=90, progressive=True),
    "grey": encoded(Image.fromarray(SMOOTH[..., 1]), "JPEG", quality=90),
}


def jpeg_with(data, metadata):
    return data[:2] + metadata + data[2:]


def webp_with(name, content):
    """An extended WebP whose flags promise all that a chunk may hold."""
    body = encoded(Image.fromarray(SMOOTH), "WEBP", lossless=True)[12:]
    size = struct.pack("<I", WIDTH - 1)[:3] + struct.pack("<I", HEIGHT - 1)[:3]
    extra = name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    flags = {b"EXIF": 8, b"XMP ": 4, b"ICCP": 32}[name]
    header = b"VP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + size
    whole = b"WEBP" + header + (extra + body if name == b"ICCP" else body + extra)
    return b"RIFF" + struct.pack("<I", len(whole)) + whole


LOSSLESS = {
    **{
        f"png {image}, {name}": png_with(PNG_IMAGES[image], metadata)
        for image in PNG_IMAGES
        for name, metadata in PNG_METADATA.items()
    },
    "png in single bytes": png_packed(size=1),
    "png in one chunk": png_packed(size=10**6),
    "png with bytes after its end": encoded(PNG_IMAGES["colour"], "PNG") + NOISE[:999],
    "webp broken EXIF": webp_with(b"EXIF", BROKEN_EXIF),
    "webp broken XMP": webp_with(b"XMP ", NOISE[:99]),
    "webp broken profile": webp_with(b"ICCP", NOISE[:1_000_000]),
    "bmp with bytes after its end": encoded(PNG_IMAGES["colour"], "BMP") + NOISE[:99],
    "tiff long description": encoded(PNG_IMAGES["colour"], "TIFF", description="word " * 10**5),
    "tiff broken profile": encoded(PNG_IMAGES["colour"], "TIFF", icc_profile=NOISE[: 10**5]),
}
LOSSY = {
    **{
        f"jpeg {image}, {name}": jpeg_with(JPEG_IMAGES[image], metadata)
        for image in JPEG_IMAGES
        for name, metadata in JPEG_METADATA.items()
    },
    "jpeg with bytes after its end": JPEG_IMAGES["colour"] + NOISE[:999],
    "jpeg with another after its end": JPEG_IMAGES["colour"] + JPEG_IMAGES["grey"],
}


def both(path, data):
    path.write_bytes(data)
    other = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert other is not None, "OpenCV does not open it"
    return read_image(path, size=None), other[..., ::-1]


def test_there_are_a_hundred():
    assert len(LOSSLESS) + len(LOSSY) >= 100


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_files_have_the_same_pixels(name, tmp_path):
    ours, theirs = both(tmp_path / "image", LOSSLESS[name])
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_files_have_the_same_pixels(name, tmp_path):
    ours, theirs = both(tmp_path / "image", LOSSY[name])
    np.testing.assert_allclose(ours.astype(int), theirs, rtol=0, atol=LOSSY_LEVELS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_both_turn_a_photograph_alike(orientation, tmp_path):
    exif = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    data = jpeg_with(JPEG_IMAGES["colour"], segment(0xE1, b"Exif\0\0" + exif))
    ours, theirs = both(tmp_path / "image.jpg", data)
    np.testing.assert_allclose(ours.astype(int), theirs, rtol=0, atol=LOSSY_LEVELS)
    assert containers.orientation(exif) == orientation


@pytest.mark.parametrize("exif", [None, b"", b"II", BROKEN_EXIF, ENDLESS_EXIF, b"MM\0*\xff\xff\xff\xff"])
def test_an_exif_block_that_says_nothing_means_upright(exif):
    assert containers.orientation(exif) == 1


def test_pixels_that_are_not_intact_are_refused_whatever_the_metadata(tmp_path):
    data = bytearray(png_with(PNG_IMAGES["colour"], PNG_METADATA["text checksum"]))
    data[data.index(b"IDAT") + 100] ^= 1
    (tmp_path / "image").write_bytes(data)
    with pytest.raises(UnreadableImage, match="wrong checksum of the PNG chunk IDAT"):
        read_image(tmp_path / "image", size=None)
