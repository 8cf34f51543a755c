"""The suites of publications: one section each, with its source and where we differ.

A number of pixels that a paper gives for images of SIDE × SIDE is scaled with the image where that is said;
otherwise it is taken as it is, and is worth more on small images.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from latentfp import rng
from latentfp.augment.attacks import NOTHING, Apply, Attack, coded, drawn, edited, graded, in_order, keyless
from latentfp.augment.blur import gaussian_blur, sharpness
from latentfp.augment.codecs import libjpeg
from latentfp.augment.colour import brightness, contrast, saturation
from latentfp.augment.geometry import (
    crop_and_resize,
    random_crop_and_resize,
    rotate,
    shrink_and_enlarge,
    warp,
)
from latentfp.augment.learned import ascend, autoencoded, away_from, diffused, embedded, encoded
from latentfp.augment.noise import gaussian_noise, poisson, salt_and_pepper, speckle
from latentfp.augment.overlay import overlay, random_erase, strokes, text_opacity
from latentfp.generators.generator import Generator
from latentfp.types import Image, Key, Params

SIDE = 512  # pixels of the images that WAVES and MarkDiffusion mean

# The post-processes of Nie et al., ICML 2023, with real libjpeg (4:2:0) in place of the differentiable one,
# and the strongest crop of Kim et al. 2021.

NIE2023_COMBINATION = in_order(
    edited(keyless(gaussian_blur, sigma=0.5), drawn(gaussian_noise, std=0.1)), coded(libjpeg, quality=50)
)
NIE2023 = (
    NOTHING,
    Attack("blur", edited(keyless(gaussian_blur, sigma=0.5))),
    Attack("noise", edited(drawn(gaussian_noise, std=0.1))),
    Attack("jpeg", coded(libjpeg, quality=50)),
    Attack("combination", NIE2023_COMBINATION),
    Attack("crop", edited(keyless(crop_and_resize, scale=0.8))),
)


# The mixture of Kim, Ren and Yang 2021, *Decentralized Attribution of Generative Models*: the strongest of
# each training range, as in their tests. The blur is in pixels whatever the size of the image.

BLURRED_CROP = (keyless(gaussian_blur, sigma=3.0), keyless(crop_and_resize, scale=0.8))
KIM2021 = Attack(
    "Kim 2021",
    in_order(edited(*BLURRED_CROP, drawn(gaussian_noise, std=0.1)), coded(libjpeg, quality=75)),
)


# The attacks of Stable Signature: `run_evals.py` of its public code, one row each.
#
# Crops and resizings keep a share of the *area*; ours are enlarged again, so that the file keeps its size.
# The text is as AugLy draws it (in another font). Source: Fernandez et al. 2023, *The Stable Signature:
# Rooting Watermarks in Latent Diffusion Models*.

TEXT = "Lorem Ipsum"
RED = (1.0, -1.0, -1.0)


def overlay_text(image: Image) -> Image:
    """The image with TEXT over it."""
    h, w, _ = image.shape
    opacity = text_opacity(TEXT, h, w, height=0.15, left=0.0, top=0.5)
    return overlay(image, colour=jnp.asarray(RED), opacity=jnp.asarray(opacity))


STABLE_SIGNATURE_COMBINATION = in_order(
    edited(keyless(crop_and_resize, scale=math.sqrt(0.5)), keyless(brightness, factor=1.5)),
    coded(libjpeg, quality=80),
)
STABLE_SIGNATURE = (
    NOTHING,
    *(
        Attack(f"crop {area:g}", edited(keyless(crop_and_resize, scale=math.sqrt(area))))
        for area in (0.5, 0.1)
    ),
    *graded("rotation", rotate, "degrees", (25.0, 90.0)),
    *(
        Attack(f"resize {area:g}", edited(keyless(shrink_and_enlarge, scale=math.sqrt(area))))
        for area in (0.5, 0.1)
    ),
    *(Attack(f"JPEG {quality}", coded(libjpeg, quality=quality)) for quality in (80, 50)),
    *graded("brightness", brightness, "factor", (1.5, 2.0)),
    *graded("contrast", contrast, "factor", (1.5, 2.0)),
    *graded("saturation", saturation, "factor", (1.5, 2.0)),
    *graded("sharpness", sharpness, "factor", (1.5, 2.0)),
    Attack("text", edited(keyless(overlay_text))),
    Attack("combination", STABLE_SIGNATURE_COMBINATION),
)


# The attacks of WAVES: single distortions, mixtures of them, regeneration, and adversarial changes.
#
# A relative strength in [0, 1] is mapped linearly to each range. Crops, resized back, and erasing, of a
# square, are shares of the *area* anywhere in the image; noise is on [0, 1].
#
# Each part is rounded to 8 bits. The public code holds the parts but not the chains; their order is that of
# its table. WAVES blurs images of 512 × 512 by whole pixels: its r pixels are r · side / 512 here, `side`
# being the shorter one, the same share of the picture. Unscaled, 10 pixels would leave a 32-pixel image one
# flat colour.
#
# Regeneration goes through the shipped latent diffusion in place of Stable Diffusion and learned codecs,
# with the noise of 60 of 1000 times, once, twice and four times; the embedding that the adversarial change
# moves is that of its first stage, by 2 and 8 grey levels. Source: An et al. 2024, *WAVES: Benchmarking the
# Robustness of Image Watermarks*, and its public code.

REGENERATED = embedded(partial(diffused, share=0.06))


def _between(weakest: float, strongest: float, strength: float) -> float:
    return weakest + strength * (strongest - weakest)


def _waves_blur(image: Image, *, strength: float) -> Image:
    sigma = int(_between(0.0, 20.0, strength)) * min(image.shape[:2]) / SIDE
    return gaussian_blur(image, sigma=sigma, kernel_size=2 * math.ceil(4 * sigma) + 1)


def _adversarial(generator: Generator, params: Params, key: Key, image: Image, *, levels: float) -> Image:
    embedding = partial(encoded, generator, params)
    return ascend(key, image, gain=away_from(embedding, image), radius=2 * levels / 255)


def waves_distortions(strength: float) -> dict[str, Apply]:
    """The eight single distortions at a relative strength in (0, 1], in the order of the chains."""
    area, hidden = _between(1.0, 0.5, strength), _between(0.0, 0.25, strength)
    return {
        "rotation": edited(keyless(rotate, degrees=_between(0.0, 45.0, strength))),
        "crop": edited(drawn(random_crop_and_resize, scale=math.sqrt(area))),
        "erasing": edited(drawn(random_erase, area=hidden, aspect=1.0)),
        "brightness": edited(keyless(brightness, factor=_between(1.0, 2.0, strength))),
        "contrast": edited(keyless(contrast, factor=_between(1.0, 2.0, strength))),
        "blur": edited(keyless(_waves_blur, strength=strength)),
        "noise": edited(drawn(gaussian_noise, std=_between(0.0, 0.2, strength))),
        "JPEG": coded(libjpeg, quality=int(_between(90.0, 10.0, strength))),
    }


def waves_chains(strength: float) -> dict[str, Apply]:
    """The three mixtures and all of them, at a relative strength."""
    single = [*waves_distortions(strength).values()]
    return {
        "photometric": in_order(*single[3:5]),
        "geometric": in_order(*single[:3]),
        "degradation": in_order(*single[5:]),
        "all": in_order(*single),
    }


WAVES = (
    NOTHING,
    *(
        Attack(f"{name} at {strength:g}", apply)
        for strength in (0.5, 1.0)
        for name, apply in waves_distortions(strength).items()
    ),
    *(Attack(name, apply) for name, apply in waves_chains(0.5).items()),
    Attack("autoencoded", embedded(autoencoded)),
    Attack("regenerated", REGENERATED),
    Attack("regenerated twice", in_order(*2 * [REGENERATED])),
    Attack("regenerated 4 times", in_order(*4 * [REGENERATED])),
    *(
        Attack(f"adversarial {levels:g}", embedded(partial(_adversarial, levels=levels)))
        for levels in (2.0, 8.0)
    ),
)


# The attacks of MarkDiffusion, at its default settings.
#
# Adaptive noise looks at the image: dark ones get Gaussian noise, those of many edges salt and pepper,
# those of much texture speckle, and all others Poisson noise. Its way of counting photons gives 256 of them
# for a grey level, which is next to nothing. The strokes' width scales with the image, the blur is in
# pixels whatever its size. Autoencoding and regeneration go through the shipped latent diffusion. Source:
# Pan et al. 2025, *MarkDiffusion: An Open-Source Toolkit for Generative Watermarking of Latent Diffusion
# Models*, and `image_editor.py` of its public code.

MASKS, MASK = 5, 0.1  # how many, and how long at most, in sides
INTENSITY = 0.5
TEXTURE = 5  # pixels of a patch
PHOTONS = 255 * 256.0  # of white


def mask(key: Key, image: Image) -> Image:
    """The image with MASKS black rectangles anywhere."""
    for index in range(MASKS):
        hidden = [
            _stretch(rng.stream(key, "mask", index, axis), side) for axis, side in enumerate(image.shape[:2])
        ]
        image = jnp.where((hidden[0][:, None] & hidden[1][None, :])[..., None], -1.0, image)
    return image


def _stretch(key: Key, side: int) -> Bool[Array, " side"]:
    """Of a line of pixels, those of a piece that is between half and all of MASK long, both ends included."""
    longest = int(side * MASK)
    length = jax.random.randint(rng.stream(key, "length"), (), longest // 2, longest + 1)
    start = jax.random.randint(rng.stream(key, "start"), (), 0, side - length + 1)
    place = jnp.arange(side)
    return (place >= start) & (place <= start + length)


def draw_strokes(key: Key, image: Image) -> Image:
    """The image with ten strokes over it."""
    width = max(1.0, 5 * min(image.shape[:2]) / SIDE)
    return strokes(key, image, count=10, width=width, parts=7, reach=0.25)


def adaptive_noise(key: Key, image: Image) -> Image:
    """Noise of the kind that the image calls for."""
    return jax.lax.switch(_noise_of(image), [partial(noise, key) for noise in ADAPTIVE_NOISES], image)


def _blended_poisson(key: Key, image: Image) -> Image:
    share = min(0.8, INTENSITY * 1.5)
    return (1 - share) * image + share * poisson(key, image, peak=PHOTONS)


ADAPTIVE_NOISES = (
    partial(gaussian_noise, std=2 * 40 * INTENSITY / 255),
    partial(salt_and_pepper, amount=0.15 * INTENSITY),
    partial(speckle, std=0.5 * INTENSITY),
    _blended_poisson,
)


def _noise_of(image: Image) -> Array:
    """The number in ADAPTIVE_NOISES: by mean brightness, step between neighbours, and spread of patches."""
    grey = (image.mean(axis=-1) + 1) * 127.5
    h, w = grey.shape
    edges = sum(jnp.abs(jnp.diff(grey, axis=axis)).sum() for axis in (0, 1)) / (h * w)
    rows, columns = h // TEXTURE, w // TEXTURE
    patches = grey[: rows * TEXTURE, : columns * TEXTURE].reshape(rows, TEXTURE, columns, TEXTURE)
    texture = patches.std(axis=(1, 3)).mean() if rows and columns else 0.0
    bright = jnp.where(edges > 30, 1, jnp.where(texture > 20, 2, 3))
    return jnp.where(grey.mean() < 80, 0, bright)


MARKDIFFUSION = (
    NOTHING,
    Attack("JPEG 95", coded(libjpeg, quality=95)),
    *graded("rotation", rotate, "degrees", (30.0,)),
    *graded("crop", crop_and_resize, "scale", (0.8,)),
    *graded("blur", gaussian_blur, "sigma", (2.0,)),
    Attack("noise 25/255", edited(drawn(gaussian_noise, std=50 / 255))),
    *graded("brightness", brightness, "factor", (1.2,)),
    Attack("masks", edited(mask)),
    Attack("strokes", edited(draw_strokes)),
    Attack("adaptive noise", edited(adaptive_noise)),
    Attack("autoencoded", embedded(autoencoded)),
    Attack("purified 0.3", embedded(partial(diffused, share=0.3))),
)


# The post-processes of WOUAF, with strengths drawn anew for each image:
#
#     shift → rotation → blur → brightness → noise → erasing → 8 bits → JPEG 50
#
# `shift`, in whole pixels, is what their crop does: it pads with black and cuts to the old size. Brightness
# is *added*: kornia's RandomBrightness adds factor - 1. The blur is in pixels whatever the size of the
# image, and bites harder on small ones. Source: Kim et al. 2024, *WOUAF: Weight Modulation for User
# Attribution and Fingerprinting in Text-to-Image Diffusion Models*, and attack `all` in
# `attack_initializer.py` of its public code, which draws margin and taps once a run.

WOUAF_MARGINS = (0.02, 0.05, 0.08, 0.1)  # of each side
WOUAF_TAPS = (3, 5, 7)


def wouaf_shift(key: Key, image: Image) -> Image:
    """Moved by up to int(margin · side) pixels each way, the margin one of WOUAF_MARGINS."""
    margins = jnp.asarray([[int(margin * side) for side in image.shape[:2]] for margin in WOUAF_MARGINS])
    limit = jax.random.choice(rng.stream(key, "margin"), margins)
    moved = jax.random.randint(rng.stream(key, "moved"), (2,), -limit, limit + 1)
    return warp(image, shift=moved / jnp.asarray(image.shape[:2]))


def wouaf_turn(key: Key, image: Image) -> Image:
    """Turned by -30 … 30 degrees."""
    return rotate(image, degrees=jax.random.uniform(key, minval=-30.0, maxval=30.0))


def wouaf_blur(key: Key, image: Image) -> Image:
    """Blurred by 1 … 3 pixels, cut to one of WOUAF_TAPS."""
    sigma = jax.random.uniform(rng.stream(key, "sigma"), minval=1.0, maxval=3.0)
    blurs = [partial(gaussian_blur, sigma=sigma, kernel_size=taps) for taps in WOUAF_TAPS]
    return jax.lax.switch(jax.random.randint(rng.stream(key, "taps"), (), 0, len(blurs)), blurs, image)


def wouaf_lighten(key: Key, image: Image) -> Image:
    """With -0.3 … 0.3 added to intensities of [0, 1]; limited to [-1, 1]."""
    return jnp.clip(image + 2 * jax.random.uniform(key, minval=-0.3, maxval=0.3), -1, 1)


def wouaf_erase(key: Key, image: Image) -> Image:
    """Without 0.02 … 0.33 of the area: a rectangle of height / width 0.3 … 1 or, half of the time, 1 … 3.3.

    It is as long as the image at most, which makes the longest of them smaller.
    """
    area = jax.random.uniform(rng.stream(key, "area"), minval=0.02, maxval=0.33)
    flat = jax.random.uniform(rng.stream(key, "flat"), minval=0.3, maxval=1.0)
    tall = jax.random.uniform(rng.stream(key, "tall"), minval=1.0, maxval=3.3)
    aspect = jnp.where(jax.random.bernoulli(rng.stream(key, "either")), flat, tall)
    return random_erase(rng.stream(key, "place"), image, area=area, aspect=aspect)


WOUAF_NOISE = drawn(gaussian_noise, std=2 * 0.2)
WOUAF = in_order(
    edited(wouaf_shift, wouaf_turn, wouaf_blur, wouaf_lighten, WOUAF_NOISE, wouaf_erase),
    coded(libjpeg, quality=50),
)
