"""The ways to estimate codes with a deployment: estimators of attribution/estimate.py.

auto         climbs from the cheapest as far as an image needs, at most to the stage that it is told
encoder      what the generator's own encoder reads, where it comes with one
decoder      the decoder's reading
refine       the decoder's reading, or else the encoder's, and a descent from it
multistart   descents from the mean and from samples of the prior
reference    the paper's search
"""

from functools import cache, partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Bool, Float

from latentfp import rng
from latentfp.attribution import reference
from latentfp.attribution.decoder import TrainedDecoder
from latentfp.attribution.ends import Subject
from latentfp.attribution.estimate import Answer, Estimator, Progress
from latentfp.attribution.ladder import Decided, Rung, climb, confident
from latentfp.attribution.objective import Distance
from latentfp.attribution.refine import Settings
from latentfp.attribution.rungs import (
    decoder_rung,
    encoder_rung,
    multistart_rung,
    reference_rung,
    refine_rung,
)
from latentfp.attribution.whitening import mean_curvature, whiten
from latentfp.choices import Coding, Method, Stage
from latentfp.deployment.deployment import Deployment
from latentfp.fingerprint.basis import Space
from latentfp.generators.pretrained import Pretrained
from latentfp.quality import pixels
from latentfp.types import Image, Key, Scalar

PROBES, PROBE_BATCH = 1024, 16  # of the mean curvature
TOLERANCE = 0.01  # chance of a wrong bit at which an answer suffices


CLIMBED = {
    Method.AUTO: tuple(Stage),
    Method.ENCODER: (Stage.ENCODER,),
    Method.DECODER: (Stage.DECODER,),
    Method.REFINE: (Stage.ENCODER, Stage.DECODER, Stage.REFINE),
    Method.MULTISTART: (Stage.MULTISTART,),
    Method.REFERENCE: (Stage.REFERENCE,),
}


class Budget(NamedTuple):
    """How much each stage may spend. `until`: the last stage that auto climbs to."""

    refine: Settings = Settings()
    multistart: Settings = Settings(steps=36, first_scale=10.0)
    starts: int = 3
    search: reference.Settings = reference.STYLEGAN2
    until: Stage = Stage.MULTISTART


def as_filed(distance: Distance, target: Image, image: Image) -> Scalar:
    """The distance to a render that was limited to [-1, 1], as the pixels of every file were."""
    return distance(target, jnp.clip(image, -1, 1))


MULTISCALE: Distance = Partial(as_filed, Partial(pixels.multiscale))


def subject_of(pretrained: Pretrained, space: Space, *, sigma: float, coding: Coding) -> Subject:
    """What the stages know of a deployment. The mean curvature is computed once, when first asked for."""
    generator, params = pretrained.generator, pretrained.params
    whitened = whiten(space, sigma=sigma, coding=coding)
    key = rng.stream(rng.root(0), "curvature")
    curvature = partial(mean_curvature, generator, params, whitened, key, batch=PROBE_BATCH, probes=PROBES)
    return Subject(generator, params, space, whitened, sigma, coding, cache(curvature))


def subject_in(opened: Deployment, loaded: Pretrained) -> Subject:
    """What the stages know of an opened deployment, whose generator was loaded."""
    manifest = opened.manifest
    return subject_of(loaded, opened.space, sigma=manifest.sigma, coding=manifest.coding)


def make_estimator(
    subject: Subject,
    decoder: TrainedDecoder | None,
    method: Method,
    *,
    key: Key,
    budget: Budget,
    distance: Distance = MULTISCALE,
    known: Float[np.ndarray, " m"] | None = None,
    decided: Decided | None = None,
) -> Estimator:
    """The estimator of a method.

    Without a decoder and an encoder, auto and refine start from multistart; the methods decoder and encoder
    raise ValueError where there is none. `decided` says which answers of auto suffice: all bits right with a
    probability of 0.99, unless it is given; other methods run all stages. `known`: coordinates of the damage.
    """
    rungs = [
        _rung(stage, subject, decoder, key=key, budget=budget, distance=distance, known=known)
        for stage in stages(method, subject, decoder, budget)
    ]
    suffices = (decided or confident(TOLERANCE)) if method is Method.AUTO else _undecided

    def run(images: Float[np.ndarray, "n h w 3"], first: int, progress: Progress) -> Answer:
        numbers = np.arange(first, first + len(images))
        return climb(rungs, np.asarray(images), numbers, decided=suffices, progress=progress)

    return Estimator(sum(rung.work for rung in rungs), run)


def stages(method: Method, subject: Subject, decoder: TrainedDecoder | None, budget: Budget) -> list[Stage]:
    """The stages that a method runs, in this order. auto judges an image after each, other methods once."""
    lacking = {
        Stage.ENCODER: subject.generator.encode is None,
        Stage.DECODER: decoder is None,
    }
    if method is Method.DECODER and decoder is None:
        raise ValueError("the deployment has no decoder: train and `latentfp adopt` one, or use multistart")
    if method is Method.ENCODER and lacking[Stage.ENCODER]:
        raise ValueError(f"a {subject.generator.name} has no encoder: use another method")
    chosen = [s for s in CLIMBED[method] if method is not Method.AUTO or s <= budget.until]
    if not subject.complete:
        return _without_descents(subject, chosen)
    if not all(lacking.values()) or method not in (Method.AUTO, Method.REFINE):
        return [s for s in chosen if not lacking.get(s)]
    return sorted({Stage.MULTISTART, *(s for s in chosen if s > Stage.REFINE)})


def _without_descents(subject: Subject, chosen: list[Stage]) -> list[Stage]:
    """Where the basis holds the leading axes only, the rest of an image's content cannot be searched."""
    if Stage.ENCODER not in chosen or subject.generator.encode is None:
        held, d = subject.whitened.rows.shape
        raise ValueError(f"the basis holds {held} of {d} axes: only an encoder can read codes from it")
    return [Stage.ENCODER]


def _rung(
    stage: Stage,
    subject: Subject,
    decoder: TrainedDecoder | None,
    *,
    key: Key,
    budget: Budget,
    distance: Distance,
    known: Float[np.ndarray, " m"] | None,
) -> Rung:
    if stage is Stage.ENCODER:
        return encoder_rung(subject, key=rng.stream(key, "encoder"))
    if stage is Stage.DECODER and decoder is not None:
        return decoder_rung(subject, decoder.decoder, decoder.weights, looks=decoder.looks)
    if stage is Stage.REFINE:
        return refine_rung(subject, settings=budget.refine, known=known)
    if stage is Stage.MULTISTART:
        settings = budget.multistart
        return multistart_rung(subject, starts=budget.starts, settings=settings, key=key, known=known)
    return reference_rung(subject, settings=budget.search, distance=distance, key=key)


def _undecided(answer: Answer) -> Bool[np.ndarray, " n"]:
    return np.zeros(answer.stage.shape, bool)
