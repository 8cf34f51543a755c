"""The attacks of WAVES: single distortions, mixtures of them, regeneration, and adversarial changes.

A relative strength s in [0, 1] is mapped linearly to each range:

    rotation     0 … 45 degrees                     brightness   1 … 2
    crop         1 … 0.5 of the area, anywhere,     contrast     1 … 2
                 resized back                       blur         0 … 20 pixels of 512, whole ones
    erasing      0 … 0.25 of the area, a square     noise        0 … 0.1 std on [0, 1]
                 anywhere                           JPEG         90 … 10

    geometric     rotation → crop → erasing         degradation  blur → noise → JPEG
    photometric   brightness → contrast             all          geometric → photometric → degradation

Each part is rounded to 8 bits. The public code holds the parts but not the chains; their order is that of its
table. WAVES blurs images of 512 × 512: its r pixels are r · side / 512 here, `side` being the shorter one,
the same share of the picture. Unscaled, 10 pixels would leave a 32-pixel image one flat colour.

Regeneration goes through the shipped latent diffusion in place of Stable Diffusion and learned codecs, with
the noise of 60 of 1000 times, once, twice and four times; the embedding that the adversarial change moves is
that of its first stage, by 2 and 8 grey levels. Source: An et al. 2024, *WAVES: Benchmarking the Robustness
of Image Watermarks*, and its public code.
"""

import math
from functools import partial

from latentfp.augment import steps
from latentfp.augment.adversarial import ascend, away_from
from latentfp.augment.attacks import Apply, Attack, edited, in_order, keyless
from latentfp.augment.blur import gaussian_blur
from latentfp.augment.erase import random_erase
from latentfp.augment.regeneration import autoencoded, diffused, embedded, encoded
from latentfp.generators.generator import Generator
from latentfp.types import Image, Key, Params

SIDE = 512  # pixels
STRENGTHS = (0.5, 1.0)
REGENERATED = embedded(partial(diffused, share=0.06))


def _between(weakest: float, strongest: float, strength: float) -> float:
    return weakest + strength * (strongest - weakest)


def _blur(image: Image, *, strength: float) -> Image:
    sigma = int(_between(0.0, 20.0, strength)) * min(image.shape[:2]) / SIDE
    return gaussian_blur(image, sigma=sigma, kernel_size=2 * math.ceil(4 * sigma) + 1)


def _adversarial(generator: Generator, params: Params, key: Key, image: Image, *, levels: float) -> Image:
    embedding = partial(encoded, generator, params)
    return ascend(key, image, gain=away_from(embedding, image), radius=2 * levels / 255)


def distortions(strength: float) -> dict[str, Apply]:
    """The eight single distortions at a relative strength in (0, 1], in the order of the chains."""
    area, hidden = _between(1.0, 0.5, strength), _between(0.0, 0.25, strength)
    return {
        "rotation": edited(steps.rotation(_between(0.0, 45.0, strength))),
        "crop": edited(steps.crop_anywhere(math.sqrt(area))),
        "erasing": edited(partial(random_erase, area=hidden, aspect=1.0)),
        "brightness": edited(steps.factor("brightness", _between(1.0, 2.0, strength))),
        "contrast": edited(steps.factor("contrast", _between(1.0, 2.0, strength))),
        "blur": edited(keyless(partial(_blur, strength=strength))),
        "noise": edited(steps.noise(_between(0.0, 0.1, strength))),
        "JPEG": steps.jpeg(int(_between(90.0, 10.0, strength))),
    }


def chains(strength: float) -> dict[str, Apply]:
    """The three mixtures and all of them, at a relative strength."""
    single = [*distortions(strength).values()]
    return {
        "photometric": in_order(*single[3:5]),
        "geometric": in_order(*single[:3]),
        "degradation": in_order(*single[5:]),
        "all": in_order(*single),
    }


WAVES = (
    Attack("none", steps.nothing()),
    *(
        Attack(f"{name} at {strength:g}", apply)
        for strength in STRENGTHS
        for name, apply in distortions(strength).items()
    ),
    *(Attack(name, apply) for name, apply in chains(0.5).items()),
    Attack("autoencoded", embedded(autoencoded)),
    Attack("regenerated", REGENERATED),
    Attack("regenerated twice", in_order(*2 * [REGENERATED])),
    Attack("regenerated 4 times", in_order(*4 * [REGENERATED])),
    *(
        Attack(f"adversarial {levels:g}", embedded(partial(_adversarial, levels=levels)))
        for levels in (2.0, 8.0)
    ),
)
