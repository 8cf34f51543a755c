"""The ways to estimate codes with a generator: functions images [b h w 3], first number → Estimate."""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float

from latentfp import rng
from latentfp.attribution import reference, refine
from latentfp.attribution.estimate import Estimate
from latentfp.attribution.objective import Distance
from latentfp.attribution.whitening import whiten
from latentfp.fingerprint.basis import Space
from latentfp.fingerprint.embed import Coding
from latentfp.generators.pretrained import Pretrained
from latentfp.types import Key

Estimator = Callable[[Float[np.ndarray, "b h w 3"], int], Estimate]
Progress = Callable[[int], object]


def by_reference(
    pretrained: Pretrained,
    space: Space,
    *,
    sigma: float,
    coding: Coding,
    distance: Distance,
    settings: reference.Settings,
    key: Key,
    progress: Progress | None = None,
) -> Estimator:
    """The paper's search. `progress` hears updates of images × starts: starts · steps of every image."""
    search = partial(
        reference.attribute_images,
        pretrained.generator,
        pretrained.params,
        space,
        key=key,
        sigma=sigma,
        coding=coding,
        distance=distance,
        settings=settings,
        pairs_per_chunk=32,
        progress=progress,
    )
    return lambda images, first: search(images, first_image=first).estimate


def by_refinement(
    pretrained: Pretrained,
    space: Space,
    *,
    sigma: float,
    coding: Coding,
    settings: refine.Settings,
    key: Key,
    progress: Progress | None = None,
) -> Estimator:
    """Damped Gauss–Newton from several starts. `progress` hears steps: starts · steps of every image."""
    generator, params = pretrained.generator, pretrained.params
    whitened = whiten(
        generator,
        params,
        space,
        rng.stream(key, "whiten"),
        sigma=sigma,
        coding=coding,
        batch=settings.batch,
        probes=settings.probes,
    )
    search = partial(
        refine.refine_images,
        generator,
        params,
        whitened,
        bits=space.code_axes.shape[0],
        key=key,
        settings=settings,
        progress=progress,
    )
    return lambda images, first: search(images, first_image=first)[0]
