"""What of a PNG or JPEG file makes its pixels, apart from what is said about them.

Metadata may be as long, as odd or as broken as it likes: of it only the colour profile and the EXIF block are
taken, if they are whole, and everything else is passed over unread. The checksums of what makes a PNG's
pixels are verified. Other formats are left as they are.
"""

import re
import struct
import zlib
from typing import NamedTuple

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
SIGNATURES = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF....WEBP|GIF8[79]a|II[*+]\0|MM\0[*+]"
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0|P[1-6Ff]\s+[#\d]",
    re.DOTALL,
)
START = 32  # bytes of a file that show what it is
PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"acTL", b"fcTL", b"fdAT", b"IEND"}
LARGEST_PROFILE = 2**26  # bytes
JPEG_METADATA, JPEG_SCAN = {*range(0xE0, 0xF0), 0xFE}, 0xDA
STANDALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
ORIENTATION, SHORT = 0x0112, 3


class Parts(NamedTuple):
    """An image file without metadata, its ICC profile, and the TIFF structure of its EXIF block."""

    image: bytes
    profile: bytes | None = None
    exif: bytes | None = None


def is_image(start: bytes) -> bool:
    """Whether a file with these first bytes, `START` of them, is of a format that can be read."""
    return SIGNATURES.match(start) is not None


def parts_of(data: bytes) -> Parts | None:
    """The parts of a PNG or JPEG file; None for other formats, and where a JPEG has no scan.

    ValueError where a PNG's pixels are not as they were written.
    """
    if data.startswith(PNG):
        return _png(data)
    return _jpeg(data) if data.startswith(JPEG) else None


def orientation(exif: bytes | None) -> int:
    """The orientation in the first directory of an EXIF block; 1, upright, where it says none."""
    if exif is None or exif[:2] not in (b"II", b"MM"):
        return 1
    order = "<" if exif[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, at)
        for entry in range(at + 2, at + 2 + 12 * entries, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, entry)
            if (tag, kind) == (ORIENTATION, SHORT):
                return value
    except struct.error:
        return 1
    return 1


def _png(data: bytes) -> Parts:
    kept, at, name = [PNG], len(PNG), b""
    profile = exif = None
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data.ljust(at + 8, b"\0"), at)
        end = at + 12 + length
        if end > len(data):
            raise ValueError("truncated PNG file")
        content, right = data[at + 8 : end - 4], data[end - 4 : end]
        whole = zlib.crc32(name + content).to_bytes(4) == right
        if name in PNG_PIXELS:
            if not whole:
                raise ValueError(f"wrong checksum of the PNG chunk {name.decode()}")
            kept.append(data[at:end])
        elif name[0] & 0x20 == 0:
            raise ValueError(f"unknown critical PNG chunk {name!r}")
        elif whole and name == b"iCCP":
            profile = _inflated(content)
        elif whole and name == b"eXIf":
            exif = content
        at = end
    return Parts(b"".join(kept), profile, exif)


def _inflated(content: bytes) -> bytes | None:
    """A PNG's profile: name, zero, method 0, compressed."""
    _, _, rest = content.partition(b"\0")
    try:
        inflater = zlib.decompressobj()
        profile = inflater.decompress(rest[1:], LARGEST_PROFILE)
    except zlib.error:
        return None
    return profile if inflater.eof else None


def _jpeg(data: bytes) -> Parts | None:
    kept, at, exif, profiles = [data[:2]], 2, None, {}
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker in (0x00, 0xFF) or marker in STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == JPEG_SCAN:
            return Parts(b"".join([*kept, data[at:]]), _joined(profiles), exif)
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        content = data[at + 4 : end]
        if content.startswith(b"Exif\0") and exif is None:
            exif = content[6:]
        elif content.startswith(b"ICC_PROFILE\0") and len(content) > 14:
            profiles.setdefault(content[12], content)
        if marker not in JPEG_METADATA or content[:5] in (b"JFIF\0", b"Adobe"):
            kept.append(data[at:end])
        at = end
    return None


def _joined(profiles: dict[int, bytes]) -> bytes | None:
    """A profile's segments, numbered from 1; each says how many there are."""
    numbers = sorted(profiles)
    if not numbers or numbers != list(range(1, profiles[numbers[0]][13] + 1)):
        return None
    return b"".join(profiles[number][14:] for number in numbers)
