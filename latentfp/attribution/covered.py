"""Parts of a file that the generator did not make: a frame around it, text, a sticker, an erased block.

What is covered tells nothing of the code, and a fit to all pixels takes it for content. So an image that no
descent explains is descended without what looks drawn over it, from the mean of the prior and as undamaged:

1. at first without all that is of exactly one colour (`flat`): frames and erased blocks, and backgrounds;
2. then without the cells that are left unexplained (`unexplained`), first coarse ones, then fine ones. What
   was left out needlessly comes back.

Only an explanation of the rest to a few times the rounding counts (NEAR), of at least half of the image. It
may name a user, since no user's code is looked at when parts are left out; it clears nobody, for what is left
out is not explained.
Source: least trimmed squares (Rousseeuw 1984, Journal of the American Statistical Association 79, 871). The
numbers were chosen on covered samples of the embedded generator.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from latentfp.attribution.observation import ROUNDING

GRID = 16  # cells a side in which is said what is left out
WINDOW = 3  # pixels a side of what is flat
NEAR = 3.5  # residual of the rest
HOPELESS = 8.0  # residual after a look from which no further one is taken
MOST = 0.5  # share of an image that may be left out
LIKELY = 0.1  # share of one colour, of an image that damage leaves grainy

ImageRows = Float[np.ndarray, "n h w 3"]
Cells = Bool[np.ndarray, "n 16 16"]


class Look(NamedTuple):
    """A cell of `size` of the grid's is left out whose residual is above `factor` times the median."""

    factor: float
    size: int


LOOKS = (Look(3.0, 2), Look(6.0, 1), Look(6.0, 1))


def nothing(n: int) -> Cells:
    """Of `n` images no cell."""
    return np.zeros((n, GRID, GRID), bool)


def flat(images: ImageRows) -> Bool[np.ndarray, "n h w"]:
    """Pixels in a window of exactly one colour."""
    n, h, w, _ = images.shape
    found = np.zeros((n, h, w), bool)
    windows = np.lib.stride_tricks.sliding_window_view(images, (WINDOW, WINDOW), axis=(1, 2))
    same = (windows == windows[..., :1, :1]).all(axis=(3, 4, 5))
    for down in range(WINDOW):
        for right in range(WINDOW):
            found[:, down : down + same.shape[1], right : right + same.shape[2]] |= same
    return found


def likely(images: ImageRows) -> Bool[np.ndarray, " n"]:
    """Images so much of which is of one colour that a fit with some damage may explain what covers them."""
    return flat(images).mean(axis=(1, 2)) > LIKELY


def unexplained(images: ImageRows, explained: ImageRows, look: Look) -> Cells:
    """The cells of images in which their explanations leave much more than elsewhere."""
    squares = np.square(images - explained).mean(axis=3)
    left = np.sqrt(_cells(squares, GRID // look.size))
    median = np.median(left, axis=(1, 2), keepdims=True)
    found = left > look.factor * np.maximum(median, ROUNDING)
    return found.repeat(look.size, axis=1).repeat(look.size, axis=2)


def without(images: ImageRows, hidden: Bool[np.ndarray, "n h w"]) -> ImageRows:
    """Images of which these pixels are not observed: NaN (refine.pose)."""
    return np.where(hidden[..., None], np.float32(np.nan), images)


def pixels_of(cells: Cells, height: int, width: int) -> Bool[np.ndarray, "n h w"]:
    """The pixels of cells."""
    down, right = (np.arange(side) * GRID // side for side in (height, width))
    return cells[:, down][:, :, right]


def cells_of(pixels: Bool[np.ndarray, "n h w"]) -> Cells:
    """The cells in which any of these pixels are."""
    return _cells(pixels.astype(np.float32), GRID) > 0


def share(cells: Cells) -> Float[np.ndarray, " n"]:
    """How much of each image the cells are."""
    return cells.mean(axis=(1, 2))


def _cells(values: Float[np.ndarray, "n h w"], side: int) -> Float[np.ndarray, "n g g"]:
    """Means of `side` × `side` cells, which differ by a pixel where that does not divide a side. Of fewer
    pixels than cells, each is seen by several."""
    for axis in (1, 2):
        length = values.shape[axis]
        first = np.minimum(-(-np.arange(side) * length // side), length - 1)
        counts = np.maximum(np.diff([*first, length]), 1).reshape(-1, *(1,) * (2 - axis))
        values = np.add.reduceat(values, first, axis=axis) / counts
    return values
