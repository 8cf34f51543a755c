"""Files that were mirrored or turned by a quarter: which of the eight symmetries of the square shows them as
they were made.

A generator of images that are not square has four of them.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

UPRIGHT = 0

ImageRows = Shaped[np.ndarray, "n h w 3"]


class Orientation(NamedTuple):
    """What was done to an image: mirrored, left for right, and then turned counter-clockwise."""

    mirrored: bool
    degrees: int

    def __str__(self) -> str:
        quarters = f"turned by {self.degrees} degrees counter-clockwise" if self.degrees else ""
        return " and ".join(filter(None, ("mirrored" if self.mirrored else "", quarters))) or "upright"


def orientations(height: int, width: int) -> list[Orientation]:
    """Those of images of this size, the upright one first."""
    turns = range(0, 360, 90 if height == width else 180)
    return [Orientation(mirrored, degrees) for mirrored in (False, True) for degrees in turns]


def turned(images: ImageRows, orientation: Orientation) -> ImageRows:
    """Images after that was done to them."""
    mirrored = images[:, :, ::-1] if orientation.mirrored else images
    return np.ascontiguousarray(np.rot90(mirrored, orientation.degrees // 90, axes=(1, 2)))


def upright(images: ImageRows, orientation: Orientation) -> ImageRows:
    """Images to which that was done, as they were before."""
    back = np.rot90(images, -orientation.degrees // 90, axes=(1, 2))
    return np.ascontiguousarray(back[:, :, ::-1] if orientation.mirrored else back)
