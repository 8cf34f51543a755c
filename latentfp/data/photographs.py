"""Real pictures that come with installed packages, without any network: crops of them as negatives.

scikit-image brings 19 photographs of objects, landscapes, surfaces, the sky and microscope slides, 100 faces
of 25 × 25 pixels out of *Labeled Faces in the Wild*, and 5 drawings; Matplotlib brings one more photograph.
So there are 20 distinct photographs, 100 small faces and 5 drawings: crops of one picture are not
independent, however many they are. `motorcycle_right`, the second view of a scene, is left out, and so are
the 100 crops beside the faces, most of which are partly or wholly black.
"""

import functools
from importlib.resources import files

import numpy as np
from jaxtyping import UInt8
from PIL import Image

Picture = UInt8[np.ndarray, "h w 3"]
Crop = UInt8[np.ndarray, "size size 3"]

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


def crop_photograph(random: np.random.Generator, size: int) -> Crop:
    """A random crop of one of the photographs or, one time in four, faces: uint8 [size size 3]."""
    if random.random() < FACE_SHARE:
        return _crop(faces()[random.integers(FACES)], random, size)
    return _crop(picture(PHOTOGRAPHS[random.integers(len(PHOTOGRAPHS))]), random, size)


def crop_drawing(random: np.random.Generator, size: int) -> Crop:
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


def _crop(source: Picture, random: np.random.Generator, size: int) -> Crop:
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
