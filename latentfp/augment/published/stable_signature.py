"""The attacks of Stable Signature: `run_evals.py` of its public code, one row each.

Crops and resizings keep 0.5 and 0.1 of the *area*, 0.707 and 0.316 of each side; ours are enlarged again, so
that the file keeps its size. The text is `Lorem Ipsum`, red, 0.15 of the height, from the middle of the left
edge on, as AugLy draws it (in another font). `combination` is crop 0.5 → brightness 1.5 → 8 bits → JPEG 80.
Source: Fernandez et al. 2023, *The Stable Signature: Rooting Watermarks in Latent Diffusion Models*.
"""

import math

import jax.numpy as jnp

from latentfp.augment import steps
from latentfp.augment.attacks import Attack, edited, in_order, keyless
from latentfp.augment.overlay import overlay, text_opacity
from latentfp.types import Image

TEXT = "Lorem Ipsum"
RED = (1.0, -1.0, -1.0)


def overlay_text(image: Image) -> Image:
    """The image with TEXT over it."""
    h, w, _ = image.shape
    opacity = text_opacity(TEXT, h, w, height=0.15, left=0.0, top=0.5)
    return overlay(image, colour=jnp.asarray(RED), opacity=jnp.asarray(opacity))


COMBINATION = in_order(edited(steps.crop(math.sqrt(0.5)), steps.factor("brightness", 1.5)), steps.jpeg(80))
STABLE_SIGNATURE = (
    Attack("none", steps.nothing()),
    *(Attack(f"crop {area:g}", edited(steps.crop(math.sqrt(area)))) for area in (0.5, 0.1)),
    *(Attack(f"rotation {turn:g}", edited(steps.rotation(turn))) for turn in (25.0, 90.0)),
    *(Attack(f"resize {area:g}", edited(steps.resize(math.sqrt(area)))) for area in (0.5, 0.1)),
    *(Attack(f"JPEG {quality}", steps.jpeg(quality)) for quality in (80, 50)),
    *(
        Attack(f"{name} {by:g}", edited(steps.factor(name, by)))
        for name in steps.FACTORS
        for by in (1.5, 2.0)
    ),
    Attack("text", edited(keyless(overlay_text))),
    Attack("combination", COMBINATION),
)
