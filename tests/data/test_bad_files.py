"""Bad files are made here, one kind a function, and every kind must be refused with its own line."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from latentfp.data import files
from latentfp.data.files import UnreadableImage, read_image

HEIGHT, WIDTH = 24, 32
SIZE = (HEIGHT, WIDTH)
LIMIT = files.MAX_PIXELS


def picture(height=HEIGHT, width=WIDTH, *, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(kind, image=None, **options):
    buffer = io.BytesIO()
    (Image.fromarray(picture()) if image is None else image).save(buffer, kind, **options)
    return buffer.getvalue()


def frames(kind, **options):
    first, second = (Image.fromarray(picture(seed=seed)) for seed in (1, 2))
    return encoded(kind, first, save_all=True, append_images=[second], **options)


def chunk(name, data, *, checksum=None):
    right = zlib.crc32(name + data)
    return (
        struct.pack(">I", len(data))
        + name
        + data
        + struct.pack(">I", right if checksum is None else checksum)
    )


def png(*, width=WIDTH, height=HEIGHT, before=b"", pixels=None, end=True, header_checksum=None):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), checksum=header_checksum)
    rows = b"".join(b"\0" + row.tobytes() for row in picture())
    data = chunk(b"IDAT", zlib.compress(rows) if pixels is None else pixels)
    return b"\x89PNG\r\n\x1a\n" + header + before + data + (chunk(b"IEND", b"") if end else b"")


def changed(data, at, by=0xFF):
    damaged = bytearray(data)
    damaged[at] ^= by
    return bytes(damaged)


def floats(value):
    values = np.full((HEIGHT, WIDTH), 0.5, dtype=np.float32)
    values[3, 4] = value
    return encoded("TIFF", Image.fromarray(values))


def bmp_of(width, height):
    data = bytearray(encoded("BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


CORRUPT = "truncated or corrupt ("
NO_IMAGE = "no intact header of an image (PNG, JPEG, WEBP, BMP, TIFF, GIF, PPM)"
SEVERAL = "holds several frames or pages"
TOO_LARGE = f"declares more than {LIMIT} pixels"
JPEG = encoded("JPEG")

BAD_BYTES = {
    "empty": (b"", "the file is empty; get it again"),
    "text": (b"not an image at all\n", NO_IMAGE),
    "one byte": (b"\x89", NO_IMAGE),
    "noise": (np.random.default_rng(5).bytes(4096), NO_IMAGE),
    "zeros": (bytes(4096), NO_IMAGE),
    "html": (b"<!doctype html><title>404</title>", NO_IMAGE),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="32" height="24"/>', NO_IMAGE),
    "pdf": (encoded("PDF"), NO_IMAGE),
    "postscript": (encoded("EPS"), NO_IMAGE),
    "icon": (encoded("ICO"), NO_IMAGE),
    "targa": (encoded("TGA"), NO_IMAGE),
    "jpeg 2000": (encoded("JPEG2000"), NO_IMAGE),
    "numpy array": (b"\x93NUMPY" + bytes(100), NO_IMAGE),
    "zip": (b"PK\x03\x04" + bytes(100), NO_IMAGE),
    "png signature alone": (b"\x89PNG\r\n\x1a\n", CORRUPT + "truncated PNG file)"),
    "png half": (png()[:1200], CORRUPT),
    "png without end": (png(end=False), CORRUPT + "truncated PNG file)"),
    "png with trailing half chunk": (png(end=False) + b"\0\0\0\4tEX", CORRUPT),
    "png pixel checksum": (
        changed(png(), 1000),
        CORRUPT + "wrong checksum of the PNG chunk IDAT)",
    ),
    "png header checksum": (png(header_checksum=1), CORRUPT + "wrong checksum of the PNG chunk IHDR)"),
    "png of Apple's own kind": (png(before=chunk(b"CgBI", bytes(4))), CORRUPT + "unknown critical PNG chunk"),
    "png transparency checksum": (png(before=chunk(b"tRNS", bytes(6), checksum=1)), CORRUPT + "wrong check"),
    "png broken stream": (png(pixels=b"no deflate stream"), CORRUPT),
    "png short stream": (png(pixels=zlib.compress(bytes(200))), CORRUPT),
    "png without pixels": (png(pixels=b""), CORRUPT),
    "png of no width": (png(width=0), NO_IMAGE),
    "png bomb": (png(width=100_000, height=100_000), TOO_LARGE),
    "png just over the limit": (png(width=8192, height=LIMIT // 8192 + 1), TOO_LARGE),
    "png that makes Pillow warn": (png(width=10_000, height=10_000), TOO_LARGE),
    "png of absurd width": (png(width=2**31 - 1, height=2**31 - 1), TOO_LARGE),
    "animated png": (frames("PNG"), SEVERAL),
    "jpeg cut": (JPEG[: len(JPEG) * 3 // 4], CORRUPT + "image file is truncated"),
    "jpeg without its last bytes": (JPEG[:-40], CORRUPT + "image file is truncated"),
    "jpeg header alone": (JPEG[:200], CORRUPT),
    "jpeg start alone": (JPEG[:3], NO_IMAGE),
    "jpeg without tables": (JPEG.replace(b"\xff\xdb", b"\xff\xfe"), CORRUPT),
    "webp half": (encoded("WEBP")[:300], CORRUPT),
    "webp header alone": (encoded("WEBP")[:16], CORRUPT),
    "animated webp": (frames("WEBP"), SEVERAL),
    "gif half": (encoded("GIF")[:1000], CORRUPT),
    "gif without image": (encoded("GIF")[:13] + b"\x3b", NO_IMAGE),
    "animated gif": (frames("GIF"), SEVERAL),
    "bmp half": (encoded("BMP")[:1000], CORRUPT + "image file is truncated"),
    "bmp bomb": (bmp_of(60_000, 60_000), TOO_LARGE),
    "bmp of no width": (bmp_of(0, HEIGHT), NO_IMAGE),
    "tiff half": (encoded("TIFF")[:1000], CORRUPT + "image file is truncated"),
    "tiff directory outside": (b"II*\0\xff\xff\xff\x7f" + bytes(64), NO_IMAGE),
    "tiff pages": (frames("TIFF"), SEVERAL),
    "tiff NaN": (floats(np.nan), "it holds NaN or infinite values; save it with 8 bits a channel"),
    "tiff infinity": (floats(np.inf), "it holds NaN or infinite values; save it with 8 bits a channel"),
    "tiff floats of another range": (floats(200.0), "its values span 0.5 … 200 where 0 … 1 is expected"),
    "tiff wide integers": (encoded("TIFF", Image.new("I", (WIDTH, HEIGHT), 2**30)), "its 32-bit integers"),
    "ppm half": (encoded("PPM")[:1000], CORRUPT),
    "ppm of words": (b"P6 wide high 255\n", CORRUPT),
    "pfm NaN": (b"Pf\n2 1\n-1.0\n" + struct.pack("<ff", 0.5, float("nan")), "it holds NaN"),
    "too small": (encoded("PNG", Image.fromarray(picture(8, 8))), "8 x 8 pixels, expected 32 x 24 (width x"),
    "on its side": (
        encoded("PNG", Image.fromarray(picture(WIDTH, HEIGHT))),
        "24 x 32 pixels, expected 32 x 24",
    ),
}


def refusal(path, *, size=SIZE):
    with pytest.raises(UnreadableImage) as caught:
        read_image(path, size=size)
    line = str(caught.value)
    assert line.isprintable(), "one line, and nothing that a terminal obeys"
    assert line.count("; ") >= 1, "says what to do"
    return line


@pytest.mark.parametrize("kind", BAD_BYTES)
def test_bad_bytes_are_refused_with_their_reason(kind, tmp_path, capfd):
    data, reason = BAD_BYTES[kind]
    path = tmp_path / "image.png"
    path.write_bytes(data)
    size = None if kind == "pfm NaN" else SIZE  # of another size, which is found first
    assert refusal(path, size=size).startswith(f"{path}: {reason}")
    assert capfd.readouterr() == ("", ""), "no decoder speaks for itself"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_no_truncation_changes_a_pixel_unseen(kind, tmp_path):
    """Every fifth length and the last ones: refused, or, only end marks being cut, the same pixels."""
    data = encoded(kind, Image.fromarray(picture(7, 9)))
    path = tmp_path / "image"
    path.write_bytes(data)
    whole = read_image(path, size=(7, 9))
    for length in sorted({*range(1, len(data), 5), *range(len(data) - 5, len(data))}):
        path.write_bytes(data[:length])
        try:
            pixels = read_image(path, size=(7, 9))
        except UnreadableImage:
            continue
        np.testing.assert_array_equal(pixels, whole)
        assert length >= len(data) - 4


def test_no_flipped_bit_changes_a_png_unseen(tmp_path):
    data, path, random = png(), tmp_path / "image", np.random.default_rng(7)
    for at in random.choice(len(data), 300, replace=False):
        path.write_bytes(changed(data, at, 1 << int(random.integers(8))))
        try:
            pixels = read_image(path, size=SIZE)
        except UnreadableImage:
            continue
        np.testing.assert_array_equal(pixels, picture())


def test_the_global_switches_of_pillow_are_left_alone(tmp_path):
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)
    path = tmp_path / "image.png"
    for data, _ in (BAD_BYTES["png that makes Pillow warn"], BAD_BYTES["jpeg cut"]):
        path.write_bytes(data)
        refusal(path)
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))


def test_another_size_is_refused_by_the_header(tmp_path, monkeypatch):
    """No pixel is decoded: a WebP of 2.6 kB once took 1.6 GB before it was refused for its size."""
    path = tmp_path / "image.webp"
    Image.new("RGB", (4000, 4000)).save(path)

    def decoded(_):
        pytest.fail("pixels were decoded")

    monkeypatch.setattr(Image.Image, "load", decoded)
    monkeypatch.setattr("PIL.WebPImagePlugin.WebPImageFile.load", decoded)
    assert "4000 x 4000 pixels, expected 32 x 24" in refusal(path)
