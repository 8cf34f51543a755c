"""Real codecs: what a viewer shows of the file that the pixels were saved to. Not differentiable.

`libjpeg` and `webp` take the quality of their encoders, 1 to 100 (WebP: lossy). `jpeg2000` takes how many
times smaller than 24 bits a pixel the file shall be, and uses the irreversible 9/7 wavelet. Source: libjpeg,
libwebp and OpenJPEG, through Pillow.
"""

import io
from typing import Any, Literal

import numpy as np
from PIL import Image as PillowImage

from latentfp.types import Pixels

Subsampling = Literal["4:4:4", "4:2:0"]


def libjpeg(pixels: Pixels, *, quality: int, subsampling: Subsampling = "4:2:0") -> Pixels:
    """The JPEG file of these pixels. NumPy in and out."""
    return _reopened(pixels, "JPEG", quality=checked_quality(quality), subsampling=subsampling)


def webp(pixels: Pixels, *, quality: int) -> Pixels:
    """The lossy WebP file of these pixels. NumPy in and out."""
    return _reopened(pixels, "WEBP", quality=checked_quality(quality))


def jpeg2000(pixels: Pixels, *, ratio: float) -> Pixels:
    """The JPEG 2000 file of these pixels, `ratio` ≥ 1 times smaller. NumPy in and out."""
    if ratio < 1:
        raise ValueError(f"ratio {ratio}: expected how many times smaller the file shall be, at least 1")
    return _reopened(pixels, "JPEG2000", quality_mode="rates", quality_layers=[ratio], irreversible=True)


def checked_quality(quality: Any) -> Any:
    """`quality`, of a JPEG or WebP file. ValueError for a number that is not in 1 … 100."""
    if isinstance(quality, float | int) and not 1 <= quality <= 100:
        raise ValueError(f"quality {quality}: expected a number from 1 to 100")
    return quality


def _reopened(pixels: Pixels, codec: str, **options: Any) -> Pixels:
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, codec, **options)
    return np.asarray(PillowImage.open(file).convert("RGB"))
