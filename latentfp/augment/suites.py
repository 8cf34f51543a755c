"""Named suites of attacks. A new attack is one row here: a name and what `attacks` composes.

`nie2023`, `stable_signature`, `waves` and `markdiffusion` hold what those publications attack with, see
`published.py`. `codecs` holds JPEG, WebP and JPEG 2000; `geometry` what moves pixels; `posted` what befalls
images that people post: mirrored, turned, shrunk (to a share of each side) within a frame, with a frame over
it, with a caption, with an erased part.

`robustness` holds single attacks and mixtures, one setting a row: blur by a Gaussian, its standard deviation
in pixels, 25 taps; Gaussian noise, its standard deviation on [0, 1]; the quality of libjpeg, 4:2:0; the share
of each side that a central crop keeps, resized back; degrees counter-clockwise, black corners; factors of
intensities, or of differences from the mean grey.
Nie et al. test blur 0.5, noise 0.05, JPEG 50 and the combination. No setting occurs twice in a suite.
"""

from latentfp.augment.attacks import NOTHING, Attack, coded, drawn, edited, graded, keyless
from latentfp.augment.blur import gaussian_blur
from latentfp.augment.codecs import jpeg2000, libjpeg, webp
from latentfp.augment.colour import brightness, contrast, hue
from latentfp.augment.geometry import (
    crop_and_resize,
    flip,
    random_perspective,
    random_rotate,
    rotate,
    shrink_and_enlarge,
)
from latentfp.augment.noise import gaussian_noise, salt_and_pepper
from latentfp.augment.overlay import border, caption, framed, random_erase
from latentfp.augment.published import (
    KIM2021,
    MARKDIFFUSION,
    NIE2023,
    NIE2023_COMBINATION,
    STABLE_SIGNATURE,
    STABLE_SIGNATURE_COMBINATION,
    WAVES,
    WOUAF,
    waves_chains,
)

FACTORS = (0.5, 0.75, 1.5, 2.0)  # of brightness and of contrast


def suite(name: str) -> tuple[Attack, ...]:
    """The attacks of a suite; ValueError for a name that is not in SUITES.

    >>> [attack.name for attack in lf.suite("nie2023")]
    ['none', 'blur', 'noise', 'jpeg', 'combination', 'crop']
    """
    if name not in SUITES:
        raise ValueError(f"unknown attack suite {name!r}: expected one of {', '.join(sorted(SUITES))}")
    return SUITES[name]


MIXTURES = (
    Attack("combination", NIE2023_COMBINATION),
    KIM2021,
    Attack("Stable Signature", STABLE_SIGNATURE_COMBINATION),
    Attack("WOUAF", WOUAF),
    *(Attack(f"WAVES {name}", apply) for name, apply in waves_chains(0.5).items()),
)

ROBUSTNESS = (
    NOTHING,
    *graded("blur", gaussian_blur, "sigma", (0.5, 1.0, 2.0, 3.0)),
    *(
        Attack(f"noise {std:g} of [0,1]", edited(drawn(gaussian_noise, std=2 * std)))
        for std in (0.05, 0.1, 0.2)
    ),
    *(Attack(f"JPEG {quality}", coded(libjpeg, quality=quality)) for quality in (80, 50, 30, 10)),
    *graded("crop", crop_and_resize, "scale", (0.8, 0.5)),
    *graded("rotation", rotate, "degrees", (-30.0, -10.0, 10.0, 30.0)),
    *graded("brightness", brightness, "factor", FACTORS),
    *graded("contrast", contrast, "factor", FACTORS),
    *MIXTURES,
)

CODECS = (
    NOTHING,
    *(Attack(f"JPEG {quality}", coded(libjpeg, quality=quality)) for quality in (95, 75, 50)),
    *(Attack(f"WebP {quality}", coded(webp, quality=quality)) for quality in (90, 75, 50)),
    *(Attack(f"JPEG 2000 {ratio:g}:1", coded(jpeg2000, ratio=ratio)) for ratio in (4.0, 8.0, 16.0)),
)

GEOMETRY = (
    NOTHING,
    Attack("flip", edited(keyless(flip))),
    *graded("resize", shrink_and_enlarge, "scale", (0.75, 0.5)),
    *graded("perspective", random_perspective, "distortion", (0.1, 0.3, 0.5), step=drawn),
)

POSTED = (
    NOTHING,
    Attack("flip", edited(keyless(flip))),
    *graded("rotation", rotate, "degrees", (45.0, 90.0)),
    Attack("rotation by any angle", edited(drawn(random_rotate, degrees=180.0))),
    *graded("shrunk in a frame", framed, "scale", (0.8,), step=drawn),
    *graded("border", border, "width", (0.1,), step=drawn),
    *graded("text", caption, "height", (0.35,), step=drawn),
    Attack("erased 0.25", edited(drawn(random_erase, area=0.25, aspect=1.0))),
)

PIXELS = (
    NOTHING,
    *graded("hue", hue, "turn", (-0.1, 0.1, 0.25)),
    *graded("salt and pepper", salt_and_pepper, "amount", (0.01, 0.05), step=drawn),
)

SUITES: dict[str, tuple[Attack, ...]] = {
    "nie2023": NIE2023,
    "stable_signature": STABLE_SIGNATURE,
    "waves": WAVES,
    "markdiffusion": MARKDIFFUSION,
    "robustness": ROBUSTNESS,
    "codecs": CODECS,
    "geometry": GEOMETRY,
    "pixels": PIXELS,
    "posted": POSTED,
}
