"""Images are files: uint8 sRGB out of any raster file, and into PNG, JPEG or WebP.

The reader takes single PNG, JPEG, WebP, BMP, TIFF, GIF and PPM images of any mode and orientation, and runs
no other decoder; of a camera's multi-picture JPEG it takes the first, the photograph. Intact pixels are read
whatever is said about them (containers.py); what becomes of colours is said in colour.py. Everything else is
refused in one line: file, reason, what to do; and the other files are read. The checksums of a PNG's pixels
are verified; damage that leaves a file of another format decodable cannot be seen.
"""

import errno
import hashlib
import io
import logging
import math
import os
import stat
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from latentfp.data import containers
from latentfp.data.colour import UnknownRange, to_srgb
from latentfp.runtime.files import printable, replacing, without_waiting
from latentfp.types import Pixels

READABLE = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
}
WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
NO_FILE = ("a pipe, socket or device", "save the image to a file first")
MAX_PIXELS = 2**26  # 64 Mi pixels: every camera up to 64 megapixels; below Pillow's own limit
LEAST, MOST = 0.25, 8  # times the sides that are expected: what is resampled
MAX_BYTES = 2**30  # of a file: MAX_PIXELS with 16 bits a channel and alpha, and as much beside
JPEG_QUALITY = 95
DECODING = threading.Lock()  # Pillow warns of bad files; warning filters belong to the whole process

LOG = logging.getLogger(__name__)
logging.getLogger("PIL").addHandler(logging.NullHandler())  # its errors are told by ours

StrPath = str | os.PathLike[str]
Size = tuple[int, int]


class UnreadableImage(ValueError):
    """A file that cannot be read as an image; its message is one line: file, reason, what to do.

    >>> lf.read_image("nowhere.png", size=None)
    Traceback (most recent call last):
    latentfp.data.files.UnreadableImage: nowhere.png: no such file; check the path
    """

    def __init__(self, path: StrPath, reason: str, fix: str):
        name = os.fspath(path)
        shown = name if name.isprintable() and name else ascii(name)
        super().__init__(f"{shown}: {printable(' '.join(reason.split()))}; {fix}")


def read_image(path: StrPath, *, size: Size | None, resize: bool = False) -> Pixels:
    """The upright sRGB pixels [h, w, 3] of an image file.

    `size` (height, width) is what is expected, None for any. An image of another size is refused, or with
    `resize`, if its sides are LEAST to MOST times as long, resampled to it by Pillow's Lanczos filter
    (antialiased, on sRGB values; the aspect ratio is not kept). UnreadableImage for what cannot be read so.

    >>> import numpy as np
    >>> lf.write_image("grey.png", np.full((8, 8, 3), 128, np.uint8))
    >>> lf.read_image("grey.png", size=(8, 8)).shape
    (8, 8, 3)
    """
    if size is not None and min(size) < 1:
        raise ValueError(f"size {size} is empty, expected a height and a width of at least 1 pixel")
    return pixels_in(read_bytes(path), path, size=size, resize=resize).pixels


class Sized(NamedTuple):
    """Pixels [h, w, 3], and the height and width that the image had."""

    pixels: Pixels
    found: Size


def pixels_in(data: bytes, path: StrPath, *, size: Size | None, resize: bool = False) -> Sized:
    """As `read_image`, of the bytes of a file that is called `path`."""
    return _sized(_decode(path, data, size=size, resize=resize), path, size=size, resize=resize)


def pixels_of(image: Any, name: str, *, size: Size | None, resize: bool = False) -> Sized:
    """The upright sRGB pixels [h, w, 3] of a PIL image, or of a uint8 array [h, w, 3], called `name`.

    As `read_image` otherwise. ValueError for anything else.
    """
    if isinstance(image, Image.Image):
        profile = image.info.get("icc_profile")
        return _sized(
            to_srgb(image, profile=profile, orientation=_orientation(image)), name, size=size, resize=resize
        )
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        found = f"{array.dtype} {list(array.shape)}"
        raise ValueError(f"{name} is {found}, expected a uint8 array [h, w, 3], a PIL image or a file")
    return _sized(Image.fromarray(array), name, size=size, resize=resize)


def _sized(image: Image.Image, path: StrPath, *, size: Size | None, resize: bool) -> Sized:
    found = image.height, image.width
    if size is None or found == size:
        return Sized(np.array(image), found)
    _check_size(path, found, size, resize=resize)
    if not resize:
        raise _another_size(path, found, size)
    return Sized(np.array(image.resize((size[1], size[0]), Image.Resampling.LANCZOS)), found)


def _check_size(path: StrPath, found: Size, size: Size, *, resize: bool) -> None:
    """UnreadableImage for what cannot be of `size`, upright or on its side, or be resampled to it."""
    if not resize:
        if sorted(found) != sorted(size):
            raise _another_size(path, found, size)
    elif min(found) < LEAST * min(size) or max(found) > MOST * max(size):
        least, most = math.ceil(LEAST * min(size)), MOST * max(size)
        got = f"{found[1]} x {found[0]} pixels, expected sides of {least} … {most}"
        raise UnreadableImage(path, got, "cut out what was generated, or resample it")


def _another_size(path: StrPath, found: Size, size: Size) -> UnreadableImage:
    got, expected = f"{found[1]} x {found[0]}", f"{size[1]} x {size[0]}"
    return UnreadableImage(path, f"{got} pixels, expected {expected} (width x height)", "ask for resizing")


def read_images(
    paths: Iterable[StrPath], *, size: Size | None, resize: bool = False
) -> Iterator[tuple[Path, Pixels | UnreadableImage]]:
    """Each path with its pixels, or with the error that `read_image` raised for it."""
    for path in paths:
        try:
            result = read_image(path, size=size, resize=resize)
        except UnreadableImage as error:
            result = error
        yield Path(path), result


def read_bytes(path: StrPath) -> bytes:
    """What is in a file, which is opened once and read once; UnreadableImage for what is no regular file.

    A pipe that nobody writes to does not stop it.
    """
    try:
        with open(path, "rb", opener=without_waiting) as file:
            fault = _fault(os.fstat(file.fileno()))
            data = b"" if fault else file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        fault = "no such file", "check the path"
    except PermissionError:
        fault = "no permission to read it", "change its mode or owner"
    except IsADirectoryError:
        fault = "a folder in which no image is found", "name image files or a folder that holds some"
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ENXIO:
            raise UnreadableImage(path, *NO_FILE) from error
        fault = f"cannot be opened ({getattr(error, 'strerror', None) or error})", "check the path"
    if fault is not None:
        raise UnreadableImage(path, *fault)
    if len(data) > MAX_BYTES:
        raise UnreadableImage(
            path, f"more than {MAX_BYTES} bytes", "save the image without what is beside it"
        )
    return data


def file_hash(path: StrPath) -> str | None:
    """The SHA-256 of a file, hexadecimal; None where it cannot be read as an image's file."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except UnreadableImage:
        return None


def find_images(paths: Iterable[StrPath]) -> list[Path]:
    """`paths` with every folder replaced by the image files below it, sorted.

    Below a folder, those files count whose first bytes, or whose suffix, are an image's. Hidden files are
    left alone; others, and links to folders, are passed over and counted in one line of the log. A folder
    that has no images, or cannot be listed, stays in the list, so that the reader names it.
    """
    found = []
    for path in map(Path, paths):
        found += (_images_below(path) or [path]) if path.is_dir() else [path]
    return found


def square(path: Path, size: int) -> Pixels:
    """The largest centred square of an image file, resampled to `size` × `size`, or UnreadableImage."""
    pixels = read_image(path, size=None)
    height, width = pixels.shape[:2]
    side = min(height, width)
    if side < size:
        reason = f"{width} x {height} pixels, too small for {size} x {size}"
        raise UnreadableImage(path, reason, "choose a smaller size")
    top, left = (height - side) // 2, (width - side) // 2
    image = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS))


def write_image(path: StrPath, pixels: Pixels, *, quality: int | None = None) -> None:
    """Write pixels [h, w, 3] as PNG, JPEG or WebP, by suffix; the file appears whole or not at all.

    `quality` is 1 … 100; None is lossless for PNG (which takes no other) and WebP, 95 for JPEG. An existing
    file is replaced. ValueError for another suffix or quality, OSError where the folder cannot be written.

    >>> import numpy as np
    >>> lf.write_image("black.jpg", np.zeros((8, 8, 3), np.uint8), quality=90)
    """
    target = Path(path)
    options = _encoding(target.suffix.lower(), quality)
    with replacing(target) as fresh, open(fresh, "xb") as file:
        Image.fromarray(np.asarray(pixels)).save(file, **options)


def _encoding(suffix: str, quality: int | None) -> dict[str, Any]:
    if suffix not in WRITABLE:
        raise ValueError(f"images are not written as '{suffix}', expected one of {', '.join(WRITABLE)}")
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"quality {quality} is outside 1 … 100")
    if WRITABLE[suffix] == "PNG":
        if quality is not None:
            raise ValueError("PNG is lossless and takes no quality: leave it out, or write JPEG or WebP")
        return {"format": "PNG"}
    if WRITABLE[suffix] == "JPEG":
        return {"format": "JPEG", "quality": JPEG_QUALITY if quality is None else quality}
    return {"format": "WEBP", "lossless": quality is None, "quality": 100 if quality is None else quality}


def _images_below(folder: Path) -> list[Path]:
    found: list[Path] = []
    passed: Counter[str] = Counter()
    for root, folders, names in os.walk(folder, onerror=lambda error: found.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        passed["linked"] += sum(os.path.islink(os.path.join(root, name)) for name in folders)
        for path in (Path(root, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() in SUFFIXES or _looks_like_an_image(path):
                found.append(path)
            else:
                passed[path.suffix.lower() or "without suffix"] += 1
    if passed.total():
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(passed.items()) if count)
        LOG.warning("%s: passed over %d that are no image files (%s)", folder, passed.total(), kinds)
    return sorted(found)


def _looks_like_an_image(path: Path) -> bool:
    """By its first bytes; a file that cannot be opened may be one."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return containers.is_image(file.read(containers.START))
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _fault(status: os.stat_result) -> tuple[str, str] | None:
    if not stat.S_ISREG(status.st_mode):
        return NO_FILE
    return ("the file is empty", "get it again") if status.st_size == 0 else None


def _decode(path: StrPath, data: bytes, *, size: Size | None, resize: bool) -> Image.Image:
    try:
        with DECODING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _load(path, data, size, resize)
    except UnreadableImage:
        raise
    except Image.DecompressionBombError as error:
        reason = f"declares more than {MAX_PIXELS} pixels"
        raise UnreadableImage(path, reason, "scale it down if it is an image") from error
    except UnknownRange as error:
        raise UnreadableImage(path, str(error), "save it with 8 bits a channel") from error
    except UnidentifiedImageError as error:
        reason = f"no intact header of an image ({', '.join(READABLE)})"
        raise UnreadableImage(path, reason, "save it as PNG") from error
    except Exception as error:  # decoders raise anything on hostile bytes
        raise UnreadableImage(path, f"truncated or corrupt ({error})", "get it again") from error


def _load(path: StrPath, data: bytes, size: Size | None, resize: bool) -> Image.Image:
    """The image, if its header has a size that is expected: others are not decoded."""
    parts = containers.parts_of(data)
    image = Image.open(io.BytesIO(data if parts is None else parts.image), formats=READABLE)
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    if getattr(image, "is_animated", False):
        raise UnreadableImage(path, "holds several frames or pages", "save the one that is meant as PNG")
    if size is not None:
        _check_size(path, (image.height, image.width), size, resize=resize)
    image.load()
    if parts is None:
        return to_srgb(image, profile=image.info.get("icc_profile"), orientation=_orientation(image))
    return to_srgb(image, profile=parts.profile, orientation=containers.orientation(parts.exif))


def _orientation(image: Image.Image) -> int:
    with suppress(Exception):  # of Pillow on broken metadata
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    return 1
