"""Mixtures of post-processes that other systems are tested with, at their own strengths.

JPEG is libjpeg at 4:2:0, geometry is bilinear, and black is what lies beyond the image. Rounding to 8 bits
happens where it is said, and at the end.

Kim 2021
    blur 3 pixels, 25 taps → centre crop to 0.8 of each side → noise of std 0.1 on [-1, 1] → 8 bits → JPEG 75
    Source: Kim, Ren and Yang 2021, *Decentralized Attribution of Generative Models*: the strongest of each
    training range, as in their tests.
Stable Signature
    centre crop to half of the *area*, 0.707 of each side → brightness 1.5 → 8 bits → JPEG 80
    Source: `comb` in `run_evals.py` of the public code; OmniSeal's `comb` is the same. Theirs keeps the small
    crop; ours is resized back, so that the file keeps its size.
WOUAF
    shift → rotation → blur → brightness → noise → erasing → 8 bits → JPEG 50, drawn at random: see wouaf.py
WAVES photometric
    brightness 1.5 (1 … 2) → 8 bits → contrast 1.5 (1 … 2)
WAVES geometric
    rotation 22.5 degrees (0 … 45) → 8 bits → crop to 0.75 of the area (1 … 0.5) anywhere, resized back →
    8 bits → erasing of a square of 0.125 of the area (0 … 0.25) anywhere
WAVES degradation
    blur 10 pixels of 512 (0 … 20) → 8 bits → noise of std 0.05 on [0, 1] (0 … 0.1) → 8 bits →
    JPEG 50 (90 … 10)
WAVES all
    geometric → photometric → degradation, 8 bits between
    Source: An et al. 2024, *WAVES: Benchmarking the Robustness of Image Watermarks*, and `distortions.py` of
    its public code, which maps a relative strength linearly to each range in brackets: 0.5 here. The code
    holds the parts but not the chains; their order is that of its table.

WAVES blurs images of 512 × 512. Its r pixels are r · side / 512 here, `side` being the shorter one: the same
share of the picture, 0.625 pixels of 32. Unscaled, 10 pixels would leave a 32-pixel image one flat colour.
Kim 2021 and WOUAF give blurs in pixels whatever the size of the image, and so they are here.
"""

import math
from functools import partial

from latentfp.augment.attacks import Apply, Attack, coded, edited, in_order, keyless
from latentfp.augment.blur import gaussian_blur
from latentfp.augment.colour import brightness, contrast
from latentfp.augment.erase import random_erase
from latentfp.augment.geometry import crop_and_resize, random_crop_and_resize, rotate
from latentfp.augment.jpeg import libjpeg
from latentfp.augment.noise import gaussian_noise
from latentfp.augment.wouaf import wouaf
from latentfp.types import Image

WAVES_STRENGTH = 0.5
WAVES_SIDE = 512  # pixels


def _halfway(weakest: float, strongest: float) -> float:
    return weakest + WAVES_STRENGTH * (strongest - weakest)


def _proportional_blur(image: Image) -> Image:
    sigma = int(_halfway(0.0, 20.0)) * min(image.shape[:2]) / WAVES_SIDE
    return gaussian_blur(image, sigma=sigma, kernel_size=2 * math.ceil(4 * sigma) + 1)


def _jpeg(quality: int) -> Apply:
    return coded(partial(libjpeg, quality=quality))


_KIM = edited(
    keyless(partial(gaussian_blur, sigma=3.0, kernel_size=25)),
    keyless(partial(crop_and_resize, scale=0.8)),
    partial(gaussian_noise, std=0.1),
)
_STABLE_SIGNATURE = edited(
    keyless(partial(crop_and_resize, scale=math.sqrt(0.5))), keyless(partial(brightness, factor=1.5))
)
_PHOTOMETRIC = (
    edited(keyless(partial(brightness, factor=_halfway(1.0, 2.0)))),
    edited(keyless(partial(contrast, factor=_halfway(1.0, 2.0)))),
)
_GEOMETRIC = (
    edited(keyless(partial(rotate, degrees=_halfway(0.0, 45.0)))),
    edited(partial(random_crop_and_resize, scale=math.sqrt(_halfway(1.0, 0.5)))),
    edited(partial(random_erase, area=_halfway(0.0, 0.25), aspect=1.0)),
)
_DEGRADATION = (
    edited(keyless(_proportional_blur)),
    edited(partial(gaussian_noise, std=2 * _halfway(0.0, 0.1))),
    _jpeg(int(_halfway(90.0, 10.0))),
)

MIXTURES = (
    Attack("Kim 2021", in_order(_KIM, _jpeg(75))),
    Attack("Stable Signature", in_order(_STABLE_SIGNATURE, _jpeg(80))),
    Attack("WOUAF", wouaf()),
    Attack("WAVES photometric", in_order(*_PHOTOMETRIC)),
    Attack("WAVES geometric", in_order(*_GEOMETRIC)),
    Attack("WAVES degradation", in_order(*_DEGRADATION)),
    Attack("WAVES all", in_order(*_GEOMETRIC, *_PHOTOMETRIC, *_DEGRADATION)),
)
