"""What the studies of a deployment work with: the opened folder, its decoder, and answers with progress."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from latentfp import rng
from latentfp.attribution.decoder import TrainedDecoder
from latentfp.attribution.ends import Subject
from latentfp.attribution.estimate import Answer
from latentfp.attribution.ladder import Decided
from latentfp.choices import Method
from latentfp.deployment import decoders
from latentfp.deployment.deployment import Deployment, load_generator, open_deployment
from latentfp.deployment.methods import Budget, make_estimator, subject_in
from latentfp.runtime.progress import progress
from latentfp.studies.intervals import binomial_interval


class Scene(NamedTuple):
    """A deployment and the seed of everything random in the study."""

    opened: Deployment
    subject: Subject
    decoder: TrainedDecoder | None
    seed: int


def open_scene(deployment: str | Path, *, seed: int) -> Scene:
    """The deployment in a folder. ValueError by what is missing or damaged."""
    opened = open_deployment(deployment)
    subject = subject_in(opened, load_generator(opened))
    return Scene(opened, subject, decoders.find(opened), seed)


def readers(scene: Scene) -> list[Method]:
    """What reads codes at once: the generator's encoder and the decoder, where there are any."""
    there = {
        Method.ENCODER: scene.subject.generator.encode is not None,
        Method.DECODER: scene.decoder is not None,
    }
    return [method for method, exists in there.items() if exists]


def identity(scene: Scene) -> dict[str, Any]:
    """What measured numbers belong to: the fingerprint space, the decoder and the seed."""
    trained = scene.decoder
    facts = decoders.belonging(scene.opened)
    return {**facts, "decoder": None if trained is None else trained.sha256, "seed": scene.seed}


def answers(
    scene: Scene,
    method: Method,
    images: Float[np.ndarray, "n h w 3"],
    *,
    label: str,
    budget: Budget,
    first: int = 0,
    decided: Decided | None = None,
) -> Answer:
    """The answers of a method for images [-1, 1], of which number `first` is the first."""
    estimator = make_estimator(
        scene.subject,
        scene.decoder,
        method,
        key=rng.stream(rng.root(scene.seed), "search"),
        budget=budget,
        decided=decided,
    )
    with progress(label, estimator.work * len(images)) as advance:
        return estimator.run(images, first, advance)


def wrong_bits(answer: Answer, codes: Bool[np.ndarray, "n k"]) -> list[int]:
    """How many bits of each image were estimated wrongly."""
    return (np.asarray(answer.estimate.code) != codes).sum(axis=1).tolist()


def accuracy_of(wrong: list[int], *, bits: int) -> dict[str, Any]:
    """Bit accuracy, and all-bits accuracy as a count with its exact 95 % interval."""
    complete = wrong.count(0)
    return {
        "images": len(wrong),
        "bit_accuracy": 1 - float(np.mean(wrong)) / bits,
        "all_bits": complete,
        "interval": list(binomial_interval(complete, len(wrong))),
    }
