"""What the studies of a deployment work with: the opened folder, its decoder, and answers with progress."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from latentfp import rng
from latentfp.attribution import cascade as cascades
from latentfp.attribution import reference
from latentfp.attribution.cascade import Budget, Cascade, Decided, DecisionRule, decision_rule, make_cascade
from latentfp.attribution.decoder import TrainedDecoder
from latentfp.attribution.descent import Subject
from latentfp.attribution.estimate import Answer, numbered
from latentfp.attribution.verdict import Registered
from latentfp.choices import Method
from latentfp.deployment import decoders
from latentfp.deployment.constants import subject_in
from latentfp.deployment.deployment import Deployment, load_generator, open_deployment
from latentfp.generators.generator import Generator
from latentfp.runtime.progress import progress
from latentfp.studies.intervals import binomial_interval


class Context(NamedTuple):
    """A deployment and the seed of everything random in the study."""

    opened: Deployment
    subject: Subject
    decoder: TrainedDecoder | None
    seed: int


class Accuracy(NamedTuple):
    """`all_bits` of `images` have every bit right; `interval`: the exact 95 % one of that share."""

    images: int
    bit_accuracy: float
    all_bits: int
    interval: tuple[float, float]


def open_context(deployment: str | Path, *, seed: int) -> Context:
    """The deployment in a folder. ValueError by what is missing or damaged."""
    return context_of(open_deployment(deployment), seed=seed)


def context_of(opened: Deployment, *, seed: int) -> Context:
    """The context of an open deployment."""
    return Context(opened, subject_in(opened, load_generator(opened)), decoders.find(opened), seed)


def readers(context: Context) -> list[Method]:
    """What reads codes at once: the generator's encoder and the decoder, where there are any."""
    there = {
        Method.ENCODER: context.subject.generator.encode is not None,
        Method.DECODER: context.decoder is not None,
    }
    return [method for method, exists in there.items() if exists]


def identity(context: Context) -> dict[str, Any]:
    """What measured numbers belong to: the fingerprint space, the decoder and the seed."""
    trained = context.decoder
    facts = decoders.belonging(context.opened)
    return {**facts, "decoder": None if trained is None else trained.sha256, "seed": context.seed}


def search_of(generator: Generator, *, starts: int, steps: int) -> Budget:
    """The paper's search with so many starts and steps; its learning rate falls as far as in 2000 steps."""
    usual = reference.usual(generator)
    decay = usual.decay * usual.steps / steps
    return Budget(search=usual._replace(starts=starts, steps=steps, decay=decay))


def cascade_of(context: Context, method: Method, *, budget: Budget | None = None) -> Cascade:
    """The stages of a method."""
    key = rng.stream(rng.root(context.seed), "search")
    return make_cascade(context.subject, context.decoder, method, key=key, budget=budget or Budget())


def rule_of(context: Context, method: Method, registered: Registered, *, alpha: float) -> DecisionRule:
    """How the answers of a method are judged among these users."""
    return decision_rule(cascade_of(context, method), registered, alpha=alpha)


def answers(
    context: Context,
    method: Method,
    images: Float[np.ndarray, "n h w 3"],
    *,
    label: str,
    budget: Budget | None = None,
    first: int = 0,
    decided: Decided | None = None,
) -> Answer:
    """The answers of a method for images [-1, 1], of which number `first` is the first."""
    cascade, ids = cascade_of(context, method, budget=budget), numbered(first, len(images))
    with progress(label, len(images)) as advance:
        return cascades.run(cascade, images, ids, decided=decided, progress=advance)


def wrong_bits(answer: Answer, codes: Bool[np.ndarray, "n k"]) -> list[int]:
    """How many bits of each image were estimated wrongly."""
    return (np.asarray(answer.estimate.code) != codes).sum(axis=1).tolist()


def accuracy_of(wrong: list[int], *, bits: int) -> Accuracy:
    """The accuracy of images with so many wrong bits each."""
    complete = wrong.count(0)
    share = 1 - float(np.mean(wrong)) / bits
    return Accuracy(len(wrong), share, complete, binomial_interval(complete, len(wrong)))
