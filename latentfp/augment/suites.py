"""Named suites of attacks.

`nie2023` holds the post-processes of Nie et al., ICML 2023, with real libjpeg (4:2:0) in place of the
differentiable one, and the centre crop of Kim et al. 2021 at its strongest setting.

`robustness` holds single attacks and mixtures, one setting a row, in this order:

    none
    blur 0.5, 1, 2, 3                           Gaussian, standard deviation in pixels, 25 taps
    noise 0.05, 0.1, 0.2 of [0,1]               Gaussian, standard deviation; twice that on [-1, 1]
    JPEG 80, 50, 30, 10                         quality of libjpeg, 4:2:0
    crop 0.8, 0.5                               share of each side, in the centre, resized back
    rotation -30, -10, 10, 30                   degrees counter-clockwise, black corners
    brightness 0.5, 0.75, 1.5, 2                factor of intensities
    contrast 0.5, 0.75, 1.5, 2                  factor of differences from the mean grey
    combination                                 blur 0.5 → noise 0.05 of [0,1] → 8 bits → JPEG 50
    Kim 2021, Stable Signature, WOUAF, WAVES photometric, geometric, degradation, all: see mixtures.py

Nie et al. test blur 0.5, noise 0.05, JPEG 50 and the combination. No setting occurs twice.
"""

from functools import partial

from latentfp.augment.attacks import Apply, Attack, Step, coded, edited, in_order, keyless
from latentfp.augment.blur import gaussian_blur
from latentfp.augment.colour import brightness, contrast
from latentfp.augment.geometry import crop_and_resize, rotate
from latentfp.augment.jpeg import libjpeg
from latentfp.augment.mixtures import MIXTURES
from latentfp.augment.noise import gaussian_noise

FACTORS = (0.5, 0.75, 1.5, 2.0)  # of brightness and of contrast


def suite(name: str) -> tuple[Attack, ...]:
    """The attacks of a suite; ValueError for a name that is not in SUITES."""
    if name not in SUITES:
        raise ValueError(f"unknown attack suite {name!r}: expected one of {', '.join(sorted(SUITES))}")
    return SUITES[name]


def _blur(sigma: float) -> Step:
    return keyless(partial(gaussian_blur, sigma=sigma, kernel_size=25))


def _noise(std: float) -> Step:
    """`std` of the range [0, 1]."""
    return partial(gaussian_noise, std=2 * std)


def _jpeg(quality: int) -> Apply:
    return coded(partial(libjpeg, quality=quality))


def _crop(scale: float) -> Step:
    return keyless(partial(crop_and_resize, scale=scale))


def _rotation(degrees: float) -> Step:
    return keyless(partial(rotate, degrees=degrees))


def _brightness(factor: float) -> Step:
    return keyless(partial(brightness, factor=factor))


def _contrast(factor: float) -> Step:
    return keyless(partial(contrast, factor=factor))


_NONE = coded(lambda pixels: pixels)
_COMBINATION = in_order(edited(_blur(0.5), _noise(0.05)), _jpeg(50))

SUITES: dict[str, tuple[Attack, ...]] = {
    "nie2023": (
        Attack("none", _NONE),
        Attack("blur", edited(_blur(0.5))),
        Attack("noise", edited(_noise(0.05))),
        Attack("jpeg", _jpeg(50)),
        Attack("combination", _COMBINATION),
        Attack("crop", edited(_crop(0.8))),
    ),
    "robustness": (
        Attack("none", _NONE),
        *(Attack(f"blur {sigma:g}", edited(_blur(sigma))) for sigma in (0.5, 1.0, 2.0, 3.0)),
        *(Attack(f"noise {std:g} of [0,1]", edited(_noise(std))) for std in (0.05, 0.1, 0.2)),
        *(Attack(f"JPEG {quality}", _jpeg(quality)) for quality in (80, 50, 30, 10)),
        *(Attack(f"crop {scale:g}", edited(_crop(scale))) for scale in (0.8, 0.5)),
        *(Attack(f"rotation {turn:g}", edited(_rotation(turn))) for turn in (-30.0, -10.0, 10.0, 30.0)),
        *(Attack(f"brightness {factor:g}", edited(_brightness(factor))) for factor in FACTORS),
        *(Attack(f"contrast {factor:g}", edited(_contrast(factor))) for factor in FACTORS),
        Attack("combination", _COMBINATION),
        *MIXTURES,
    ),
}
