"""Pictures that no generator made: crops of real ones, which come with installed packages, and computed ones.

Nothing is downloaded. scikit-image brings 19 photographs of objects, landscapes, surfaces, the sky and
microscope slides, 100 faces of 25 × 25 pixels out of *Labeled Faces in the Wild*, and 5 drawings; Matplotlib
brings one more photograph. So there are 20 distinct photographs, 100 small faces and 5 drawings: crops of one
picture are not independent, however many they are. `motorcycle_right`, the second view of a scene, is left
out, and so are the 100 crops beside the faces, most of which are partly or wholly black.

Computed are noise of every colour, and flat pictures.
"""

import functools
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from latentfp.data.files import find_images, read_image

Picture = UInt8[np.ndarray, "h w 3"]
Square = UInt8[np.ndarray, "size size 3"]
Field = Float[np.ndarray, "size size c"]

SKIMAGE = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "microaneurysms.png",
    "moon.png",
    "motorcycle_left.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
    "text.png",
)
DRAWINGS = tuple(
    f"skimage/data/{name}"
    for name in ("chessboard_GRAY.png", "color.png", "horse.png", "logo.png", "phantom.png")
)
PHOTOGRAPHS = (
    *(f"skimage/data/{name}" for name in SKIMAGE),
    "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
)
FACES, FACE_FILE = 100, "skimage/data/lfw_subset.npy"

FACE_SHARE = 0.25  # of the crops
SMALLEST_SHARE = 0.6  # of the shorter side that a crop of a small picture has at least
EXTREMES = 0.02  # share of the flat pictures that are black or white
SPECTRUM = (0.5, 2.0)  # exponents of 1 / frequency, of the amplitude


def crop_photograph(random: np.random.Generator, size: int) -> Square:
    """A random crop of one of the photographs or, one time in four, faces: uint8 [size size 3]."""
    if random.random() < FACE_SHARE:
        return _crop(faces()[random.integers(FACES)], random, size)
    return _crop(picture(PHOTOGRAPHS[random.integers(len(PHOTOGRAPHS))]), random, size)


def crop_of(folder: str) -> Callable[[np.random.Generator, int], Square]:
    """A random crop of one of the image files below a folder. ValueError where one cannot be read."""
    paths = find_images([folder])

    def crop(random: np.random.Generator, size: int) -> Square:
        return _crop(_whole(paths[random.integers(len(paths))]), random, size)

    return crop


@functools.lru_cache(maxsize=512)
def _whole(path: Path) -> Picture:
    return read_image(path, size=None)


def crop_drawing(random: np.random.Generator, size: int) -> Square:
    """A random crop of one of the drawings, many of them of one colour or two: uint8 [size size 3]."""
    return _crop(picture(DRAWINGS[random.integers(len(DRAWINGS))]), random, size)


@functools.cache
def picture(name: str) -> Picture:
    """A picture of PHOTOGRAPHS or DRAWINGS, sRGB, grey ones with three equal channels, on white.

    ValueError where the package is not installed or does not hold it.
    """
    image = Image.open(_file(name)).convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


@functools.cache
def faces() -> UInt8[np.ndarray, "n h w 3"]:
    """The 100 faces [100 25 25 3], grey. ValueError as for `picture`."""
    grey = np.load(_file(FACE_FILE))[:FACES]  # in [0, 1]
    return np.repeat(np.round(grey * 255).astype(np.uint8)[..., None], 3, axis=-1)


def _file(name: str) -> str:
    package, _, path = name.partition("/")
    try:
        found = files(package).joinpath(path)
    except ModuleNotFoundError:
        found = None
    if found is None or not found.is_file():
        raise ValueError(f"found no {name} in the installed packages: install latentfp[study]")
    return str(found)


def _crop(source: Picture, random: np.random.Generator, size: int) -> Square:
    """A square anywhere in the picture, of any size, perhaps mirrored, resampled with a bicubic filter.

    The logarithm of its side is uniform between that of the shorter side and that of `size`, or of 0.6 of the
    shorter side where this is less; corners lie between pixels.
    """
    h, w, _ = source.shape
    shorter = min(h, w)
    side = float(np.exp(random.uniform(np.log(min(size, SMALLEST_SHARE * shorter)), np.log(shorter))))
    top, left = random.uniform(0, h - side), random.uniform(0, w - side)
    box = (left, top, min(left + side, w), min(top + side, h))
    cut = Image.fromarray(source).resize((size, size), Image.Resampling.BICUBIC, box=box)
    pixels = np.array(cut)
    return pixels[:, ::-1].copy() if random.random() < 0.5 else pixels


def noise(random: np.random.Generator, size: int) -> Square:
    """White noise, noise of amplitude 1 / frequency^a with a in 0.5 … 2, or noise in blocks, equally often.

    Values are Gaussian or uniform before they are filtered, grey or coloured, with a mean of 64 … 192 and a
    standard deviation of 10 … 80 grey levels before they are limited to 0 … 255: uint8 [size size 3].
    """
    channels = int(random.choice([1, 3]))
    structure = (_white, _coloured, _blocks)[random.integers(3)]
    field = structure(random, size, channels)
    levels = random.uniform(64, 192) + random.uniform(10, 80) * field
    return np.broadcast_to(_rounded(levels), (size, size, 3)).copy()


def flat(random: np.random.Generator, size: int) -> Square:
    """One colour, a linear gradient or a checkerboard of two, or, one time in fifty, black or white.

    Colours are uniform in the cube, directions in the circle, the squares' sides in 1 … size / 2 pixels:
    uint8 [size size 3].
    """
    if random.random() < EXTREMES:
        return np.full((size, size, 3), random.choice([0, 255]), np.uint8)
    weight = (_even, _gradient, _checkerboard)[random.integers(3)](random, size)
    one, other = random.uniform(0, 255, (2, 3))
    return _rounded(one[None, None] + (other - one)[None, None] * weight)


def _rounded(levels: Field) -> UInt8[np.ndarray, "size size c"]:
    return np.round(np.clip(levels, 0, 255)).astype(np.uint8)


def _white(random: np.random.Generator, size: int, channels: int) -> Field:
    """Mean 0 and variance 1, Gaussian or uniform."""
    shape = (size, size, channels)
    return (
        random.standard_normal(shape) if random.random() < 0.5 else random.uniform(-(3**0.5), 3**0.5, shape)
    )


def _coloured(random: np.random.Generator, size: int, channels: int) -> Field:
    """Every frequency but zero divided by its length to a power; each channel mean 0 and variance 1."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    gain = frequency[..., None] ** -random.uniform(*SPECTRUM)
    spectrum = np.fft.rfft2(_white(random, size, channels), axes=(0, 1)) * gain
    field = np.fft.irfft2(spectrum, s=(size, size), axes=(0, 1))
    return field / field.std(axis=(0, 1), keepdims=True)


def _blocks(random: np.random.Generator, size: int, channels: int) -> Field:
    """Squares of one value, 2 … size / 2 pixels wide; the last ones may be cut."""
    side = int(random.integers(2, max(size // 2, 2) + 1))
    values = _white(random, -(-size // side), channels)
    return values.repeat(side, axis=0).repeat(side, axis=1)[:size, :size]


def _even(random: np.random.Generator, size: int) -> Field:
    return np.full((size, size, 1), random.random())


def _gradient(random: np.random.Generator, size: int) -> Field:
    angle, place = random.uniform(0, 2 * np.pi), np.linspace(-1, 1, size)
    along = np.cos(angle) * place[:, None] + np.sin(angle) * place[None, :]
    return (0.5 + along / (2 * (abs(np.cos(angle)) + abs(np.sin(angle)))))[..., None]


def _checkerboard(random: np.random.Generator, size: int) -> Field:
    side = int(random.integers(1, max(size // 2, 1) + 1))
    row, column = (np.arange(size) + random.integers(2 * side, size=(2, 1))) // side
    return ((row[:, None] + column[None, :]) % 2).astype(float)[..., None]
