"""Single operations at a stated strength, as steps of an attack. Strengths are those that papers give.

Blur in pixels, noise in units of [0, 1], crop and resize as shares of a *side*, rotation in degrees
counter-clockwise, colours as factors.
"""

from functools import partial

from latentfp.augment import codecs, colour, geometry
from latentfp.augment import noise as noises
from latentfp.augment import resize as resizing
from latentfp.augment import sharpness as sharpening
from latentfp.augment.attacks import Apply, Step, coded, keyless
from latentfp.augment.blur import gaussian_blur

FACTORS = {
    "brightness": colour.brightness,
    "contrast": colour.contrast,
    "saturation": colour.saturation,
    "sharpness": sharpening.sharpness,
}


def nothing() -> Apply:
    """The file as it is."""
    return coded(lambda pixels: pixels)


def blur(sigma: float) -> Step:
    """Gaussian, 25 taps."""
    return keyless(partial(gaussian_blur, sigma=sigma, kernel_size=25))


def noise(std: float) -> Step:
    """Gaussian, of standard deviation `std` of the range [0, 1]."""
    return partial(noises.gaussian_noise, std=2 * std)


def crop(scale: float) -> Step:
    """The centre, resized back."""
    return keyless(partial(geometry.crop_and_resize, scale=scale))


def crop_anywhere(scale: float) -> Step:
    """A window at random, resized back."""
    return partial(geometry.random_crop_and_resize, scale=scale)


def resize(scale: float) -> Step:
    """Shrunk, and enlarged again."""
    return keyless(partial(resizing.shrink_and_enlarge, scale=scale))


def rotation(degrees: float) -> Step:
    """About the centre, black corners."""
    return keyless(partial(geometry.rotate, degrees=degrees))


def factor(name: str, by: float) -> Step:
    """One of FACTORS."""
    return keyless(partial(FACTORS[name], factor=by))


def jpeg(quality: int) -> Apply:
    """libjpeg at 4:2:0."""
    return coded(partial(codecs.libjpeg, quality=quality))
