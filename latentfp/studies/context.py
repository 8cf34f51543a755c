"""What the studies of a deployment work with: the opened folder, watermarked images, and answers to them.

Images are as an investigator gets them: made, saved, read, attacked, saved and read again. Every file is a
real PNG. Image i follows from the seed and i alone, so a study may add images later.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from latentfp import rng
from latentfp.attribution import cascade as cascades
from latentfp.attribution import reference
from latentfp.attribution.cascade import Budget, Cascade, Decided, DecisionRule, decision_rule, make_cascade
from latentfp.attribution.decoder import TrainedDecoder
from latentfp.attribution.descent import Subject
from latentfp.attribution.estimate import Answer, numbered
from latentfp.attribution.verdict import Registered
from latentfp.augment.attacks import Attack
from latentfp.augment.suites import suite
from latentfp.choices import Method
from latentfp.data.files import read_image, write_image
from latentfp.deployment import decoders
from latentfp.deployment.constants import subject_in
from latentfp.deployment.copies import Issued, batch_of, issue
from latentfp.deployment.deployment import Deployment, load_generator, open_deployment
from latentfp.generators.generator import Generator
from latentfp.generators.pretrained import Pretrained
from latentfp.runtime.progress import progress
from latentfp.studies.content import with_content

Rows = UInt8[np.ndarray, "n h w 3"]


class Context(NamedTuple):
    """A deployment and the seed of everything random in the study."""

    opened: Deployment
    loaded: Pretrained
    subject: Subject
    decoder: TrainedDecoder | None
    seed: int


def open_context(deployment: str | Path, *, seed: int, content: str = "") -> Context:
    """The deployment in a folder; of an autoencoder's, images show `content`, a folder of photographs.

    ValueError by what is missing or damaged.
    """
    opened = open_deployment(deployment)
    loaded = load_generator(opened)
    if content:
        loaded = with_content(loaded, Path(content), seed=seed)
    return Context(opened, loaded, subject_in(opened, loaded), decoders.find(opened), seed)


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
    facts = {**decoders.belonging(context.opened), "generator": context.loaded.identity}
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


def attack_of(name: str, attack: str) -> Attack:
    """The attack of this name in the suite `name`. ValueError lists the known ones."""
    chosen = {entry.name: entry for entry in suite(name)}
    if attack not in chosen:
        raise ValueError(f"attack {attack!r}: expected one of {', '.join(chosen)}")
    return chosen[attack]


def attacks_of(suites: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Suite and name of every attack of the suites, by both together; "SUITE/ATTACK" is one attack alone."""
    chosen: dict[str, tuple[str, str]] = {}
    for asked in suites:
        name, _, only = asked.partition("/")
        names = [attack_of(name, only).name] if only else [entry.name for entry in suite(name)]
        chosen.update({f"{name} {attack}": (name, attack) for attack in names})
    return chosen


def marked_images(subject: Subject, codes: Bool[np.ndarray, "n k"], *, seed: int, first: int = 0) -> Rows:
    """Images number `first`, `first` + 1, … of a deployment, one for each code, not yet saved."""
    return issued(subject, codes, seed=seed, first=first).marked


def issued(subject: Subject, codes: Bool[np.ndarray, "n k"], *, seed: int, first: int = 0) -> Issued:
    """Those images, and the same ones without a code."""
    return issue(subject, codes, key=rng.stream(rng.root(seed), "study"), first=first)


def marked_with_fresh_noise(subject: Subject, codes: Bool[np.ndarray, "n k"], *, seed: int) -> Rows:
    """The same contents and codes with noise maps that are drawn afresh for every image and known to nobody.

    ValueError where the generator has no noise maps.
    """
    renoise = subject.generator.renoise
    if renoise is None:
        raise ValueError(f"generator {subject.generator.name} has no noise maps: leave this setting out")
    parts = []
    batch = batch_of(subject.generator)
    for first in range(0, len(codes), batch):
        key = rng.stream(rng.root(seed), "noise maps", first)
        renewed = subject._replace(params=renoise(subject.params, key, batch))
        parts.append(marked_images(renewed, codes[first : first + batch], seed=seed, first=first))
    return np.concatenate(parts)


def through_files(images: Rows, attack: Attack, *, seed: int, first: int = 0) -> Rows:
    """Images number `first`, `first` + 1, … after saving, reading, attacking, saving and reading again."""
    keys = [rng.stream(rng.root(seed), "attack", first + i) for i in range(len(images))]
    with tempfile.TemporaryDirectory() as folder:
        read = (_filed(Path(folder) / f"{i}.png", image) for i, image in enumerate(images))
        attacked = [attack.apply(key, image) for key, image in zip(keys, read, strict=True)]
        return np.stack(
            [_filed(Path(folder) / f"{i}-attacked.png", image) for i, image in enumerate(attacked)]
        )


def attacked_files(
    context: Context, codes: Bool[np.ndarray, "n k"], attack: Attack, *, first: int = 0
) -> Rows:
    """Files number `first`, `first` + 1, … of images with these codes, after an attack."""
    made = marked_images(context.subject, codes, seed=context.seed, first=first)
    return through_files(made, attack, seed=context.seed, first=first)


def _filed(path: Path, image: np.ndarray) -> np.ndarray:
    write_image(path, image)
    return read_image(path, size=image.shape[:2])
