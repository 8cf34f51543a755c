"""Any image that Pillow has read to 8-bit sRGB, as it is seen upright on a white page.

    grey, 16 bits       v ↦ round(v / 257)
    grey, float         v in [0, 1] ↦ round(255 v)
    colour, 16 bits     Pillow's reader keeps the high byte
    CMYK                by its profile, else by Pillow's plain formula
    transparent         composited on white
    EXIF orientation    applied

An embedded ICC profile is converted to sRGB (perceptual intent) by littleCMS, unless it is sRGB already: one
that moves no colour of a coarse colour cube by more than two levels leaves the pixels exactly as they are. A
broken profile, or one made for other channels, is ignored as browsers do. Without a profile the values are
taken as sRGB, whatever gamma and chromaticity chunks say.
"""

import io

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageCms

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
WIDE_INTEGERS = ("PNG", "PPM")  # where mode I spans 0 … 65535
SAME_COLOUR = 2  # levels


class UnknownRange(ValueError):
    """Sample values of which nobody can say what is white."""


def to_srgb(image: Image.Image, *, profile: bytes | None, orientation: int) -> Image.Image:
    """The loaded image, with this ICC profile and EXIF orientation, as 8-bit RGB.

    UnknownRange for wide integers and for floats that are not in 0 … 1.
    """
    colours, alpha = _colours(image, profile), _alpha(image)
    if alpha is not None:
        colours = Image.composite(colours, Image.new("RGB", image.size, "white"), alpha)
    turn = UPRIGHT.get(orientation)
    return colours if turn is None else colours.transpose(turn)


def _alpha(image: Image.Image) -> Image.Image | None:
    if not image.has_transparency_data:
        return None
    if image.mode.startswith("I"):
        seen = np.asarray(image) != image.info["transparency"]
        return Image.fromarray(255 * seen.astype(np.uint8))
    return image.convert("RGBA").getchannel("A")


def _colours(image: Image.Image, profile: bytes | None) -> Image.Image:
    plain = _eight_bits(image)
    if profile is None and plain.mode != "LAB":
        return plain.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
        convert = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), plain.mode, "RGB")
    except (OSError, ImageCms.PyCMSError):
        return plain.convert("RGB")
    return plain if plain.mode == "RGB" and _changes_nothing(convert) else convert.apply(plain)


def _changes_nothing(convert: ImageCms.ImageCmsTransform) -> bool:
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(64, 64, 3)
    moved = np.asarray(convert.apply(Image.fromarray(cube))).astype(int) - cube
    return bool(np.abs(moved).max() <= SAME_COLOUR)


def _eight_bits(image: Image.Image) -> Image.Image:
    """L, RGB, CMYK or LAB: the channels that a profile speaks of, without palette and alpha."""
    if image.mode.startswith("I"):
        return _from_integers(image)
    if image.mode == "F":
        return _from_floats(np.asarray(image, dtype=np.float64))
    if image.mode in ("1", "L", "LA"):
        return image.convert("LA").getchannel("L")
    if image.mode in ("CMYK", "LAB"):
        return image
    return image.convert("RGBA").convert("RGB")


def _from_integers(image: Image.Image) -> Image.Image:
    if image.mode == "I" and image.format not in WIDE_INTEGERS:
        raise UnknownRange("its 32-bit integers have no known white")
    values = np.asarray(image).astype(np.int64)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _from_floats(values: Float[np.ndarray, "h w"]) -> Image.Image:
    if not np.isfinite(values).all():
        raise UnknownRange("it holds NaN or infinite values")
    if values.min() < 0 or values.max() > 1:
        raise UnknownRange(f"its values span {values.min():g} … {values.max():g} where 0 … 1 is expected")
    return Image.fromarray(np.round(255 * values).astype(np.uint8))
