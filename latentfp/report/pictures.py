"""Image files as parts of a page: read once, shown whole, carried inside the HTML as PNG.

Small images are enlarged by a whole number, each pixel a crisp square; large ones are shrunk by the browser.
The difference of two images is mid-grey plus ten times the difference of their pixels,

    128 + 10 (marked - plain), limited to 0 … 255,

so a change of 13 of 255 levels is already white or black.
"""

import base64
import io
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from latentfp.data.files import read_image
from latentfp.types import Pixels

GAIN = 10
SHOWN = 128  # side of an image on the page, in CSS pixels, or just above


class Album:
    """The image files of one folder; ValueError for a path that leads out of it."""

    def __init__(self, folder: Path):
        self._folder = folder.resolve()

    def pixels(self, path: str) -> Pixels:
        """The pixels [h, w, 3] of a file named relative to the folder."""
        place = (self._folder / path).resolve()
        if not place.is_relative_to(self._folder):
            raise ValueError(
                f"{path!r} leads out of {self._folder}, expected a relative path that stays inside"
            )
        return read_image(place, size=None)

    def image(self, path: str, *, alt: str) -> str:
        """The <img> that shows a file."""
        return picture(self.pixels(path), alt=alt)

    def difference(self, marked: str, plain: str, *, alt: str) -> str:
        """The <img> that shows ten times the difference of two files of one size."""
        a, b = self.pixels(marked), self.pixels(plain)
        if a.shape != b.shape:
            raise ValueError(f"{marked!r} and {plain!r} are {a.shape} and {b.shape}, expected one shape")
        return picture(difference(a, b), alt=alt)


def difference(marked: Pixels, plain: Pixels) -> Pixels:
    """128 + 10 (marked - plain), limited to the 8 bits of a pixel."""
    change = marked.astype(np.int32) - plain
    return np.clip(128 + GAIN * change, 0, 255).astype(np.uint8)


def picture(pixels: Pixels, *, alt: str) -> str:
    """The <img> that carries these pixels."""
    height, width = pixels.shape[:2]
    enlarged = max(1, round(SHOWN / width))
    shown = width * enlarged if width <= SHOWN else SHOWN
    crisp = ' class="crisp"' if enlarged > 1 else ""
    size = f'width="{shown}" height="{round(shown * height / width)}"'
    return f'<img src="{_data_uri(pixels)}" alt="{escape(alt)}" {size}{crisp}>'


def _data_uri(pixels: Pixels) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
