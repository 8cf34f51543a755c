"""Where an image lies in a file: mirrored, turned by any angle, smaller within a frame.

A decoder knows windows inside an image that are turned by up to 30 degrees. So it is shown every file in each
of its orientations, as it is and turned by an eighth more, and without its frame where it has one. What it
reads in such a view is a damage of the file itself (`in_file`), whose pixels are never resampled for a
descent. Of the views of an image and of its mirror image, the one counts that explains the file best.

For a file T = warp(I; θ, s, t) of an image I and a view P = warp(T; φ, z, u), both by augment/geometry.py,

    P = warp(I; θ + φ, s z, t + s R(θ) u),    R(θ): what turns (down, right) by θ

Nothing here looks at a user's code, so it costs nothing in a p-value.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from latentfp.attribution.descent import in_batches
from latentfp.attribution.orientation import orientations, upright
from latentfp.augment import damage
from latentfp.augment.geometry import warp
from latentfp.types import Image, Images, Scalar

EIGHTH = 45.0
# Of each side that a view shows which is turned by an eighth: all of it is known from 1/√2 down, and more of
# the image is seen up to 1.
PART = 0.78
FRAME = 16 * 2 / 255  # of a line's pixels from the outermost line's median: lossy codecs move them
THICKEST = 1 / 3  # of a side, at each end

PROMISING = 0.95  # of what is left over as the file stands: up to there another view is worth a descent

ImageRows = Float[np.ndarray, "n h w 3"]
Distortions = Float[np.ndarray, "n m"]


class Window(NamedTuple):
    """What is looked at of each file: turned by `degrees`, `scale` of each side, moved (down, right) by a
    share of the sides."""

    degrees: Float[np.ndarray, " n"]
    scale: Float[np.ndarray, " n"]
    shift: Float[np.ndarray, "n 2"]


class View(NamedTuple):
    """Files, upright if it is `orientation`, the window that a decoder is shown, and what is not in it."""

    orientation: int
    mirrored: bool
    files: ImageRows
    window: Window
    frame: Bool[np.ndarray, "n h w"]


def views(files: ImageRows) -> Iterator[View]:
    """Of files [-1, 1], for every orientation: upright, turned by an eighth, and without frames if any has
    one."""
    n, h, w, _ = files.shape
    for number, orientation in enumerate(orientations(h, w)):
        shown = upright(files, orientation)
        frame, inside = framed(shown)
        nothing = np.zeros((n, h, w), bool)
        for degrees, scale in ((0.0, 1.0), (-EIGHTH, PART)):
            window = Window(np.full(n, degrees), np.full(n, scale), np.zeros((n, 2)))
            yield View(number, orientation.mirrored, shown, window, nothing)
        if frame.any():
            yield View(number, orientation.mirrored, shown, inside, frame)


def framed(files: ImageRows) -> tuple[Bool[np.ndarray, "n h w"], Window]:
    """The pixels of the frame around each file, and the window that is left: a frame's lines are all of one
    colour, at each edge its own."""
    n, h, w, _ = files.shape
    top, left, bottom, right = (_lines(np.rot90(files, quarters, axes=(1, 2))) for quarters in (0, 3, 2, 1))
    down, across = np.arange(h), np.arange(w)
    outer = (down < top[:, None]) | (down >= h - bottom[:, None])
    beside = (across < left[:, None]) | (across >= w - right[:, None])
    scale = np.maximum((h - top - bottom) / h, (w - left - right) / w)
    shift = np.stack([(top - bottom) / (2 * h), (left - right) / (2 * w)], axis=1)
    return outer[:, :, None] | beside[:, None, :], Window(np.zeros(n), scale, shift)


def _lines(files: ImageRows) -> Int[np.ndarray, " n"]:
    """How many of the first lines of each file are of one colour."""
    most = int(THICKEST * files.shape[1])
    colour = np.median(files[:, :1], axis=2, keepdims=True)
    alike = (np.abs(files[:, :most] - colour) < FRAME).all(axis=(2, 3))
    return np.cumprod(alike, axis=1).sum(axis=1)


def shown(files: ImageRows, window: Window) -> ImageRows:
    """What is seen in a window of each file, of the files' size."""
    if not window.degrees.any() and (window.scale == 1).all():
        return files
    return in_batches(_looked_at, files, window.degrees, window.scale, window.shift)


@jax.jit
def _looked_at(
    images: Images, degrees: Float[Array, " n"], scale: Float[Array, " n"], shift: Float[Array, "n 2"]
) -> Images:
    def one(image: Image, turn: Scalar, part: Scalar, move: Float[Array, " 2"]) -> Image:
        return warp(image, degrees=turn, scale=part, shift=move)

    return jax.vmap(one)(images, degrees, scale, shift)


def in_file(read: Distortions, window: Window) -> Distortions:
    """Damages that were read in a window, as damages of the whole file."""
    seen = damage.from_coordinates(np.asarray(read, np.float64).T)
    degrees, scale = seen.degrees - window.degrees, seen.scale / window.scale
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    down, right = window.shift.T
    whole = seen._replace(
        degrees=degrees,
        scale=scale,
        down=seen.down - scale * (cos * down + sin * right),
        right=seen.right - scale * (cos * right - sin * down),
    )
    return np.asarray(damage.coordinates(whole)).T.astype(np.float32)
