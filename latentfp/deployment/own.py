"""The deployment's own images, with codes that belong to nobody: to measure what it makes of them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from latentfp.deployment.copies import Issued, draw_latents, mark_latents
from latentfp.deployment.deployment import Deployment
from latentfp.generators.pretrained import Pretrained
from latentfp.types import Key


class Own(NamedTuple):
    """The same latents without and with a code, and the codes: fair and independent, repeats included."""

    issued: Issued
    codes: Bool[np.ndarray, "n k"]


def own(opened: Deployment, loaded: Pretrained, *, images: int, seed: int, key: Key) -> Own:
    """As many images; `key` draws the latents, `seed` the codes."""
    manifest = opened.manifest
    message = manifest.bits // manifest.repeats
    codes = np.random.default_rng(seed).integers(2, size=(images, message)).astype(bool)
    codes = codes.repeat(manifest.repeats, axis=1)
    generator, params = loaded.generator, loaded.params
    w0 = draw_latents(generator, params, key, count=images)
    strength, coding = manifest.sigma, manifest.coding
    return Own(mark_latents(generator, params, opened.space, w0, codes, sigma=strength, coding=coding), codes)
