"""The demonstration: the whole method on real files, from fitting to verdicts, with a page to look at.

In the folder: `deployment/`, `images/USER/` (with codes), `plain/USER/` (the same latents without),
`attacked/ATTACK/USER/`, `negatives/SOURCE/` (the same generator without a code, and drawings of another
style), and report.json: what was set, what was found of each file, and the counts, of which report/demo.py
makes the page. Clean images are all attributed; under each attack the first image of every user is.
"""

import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from latentfp import rng
from latentfp.attribution.descent import Subject
from latentfp.attribution.verdict import ALPHA
from latentfp.augment.suites import suite
from latentfp.data import avatars
from latentfp.data.files import read_image, write_image
from latentfp.deployment import fitting
from latentfp.deployment.attribute import Finding, Request, attribute_all, prepare
from latentfp.deployment.constants import subject_in
from latentfp.deployment.copies import issue
from latentfp.deployment.deployment import load_generator
from latentfp.deployment.registry import User
from latentfp.pixels import to_float
from latentfp.quality.pixels import psnr
from latentfp.runtime.progress import progress, track
from latentfp.runtime.provenance import cpu
from latentfp.studies.statistics import binomial_interval

NAMES = ("alice", "bob", "carol", "dan", "erin", "frank", "grace", "heidi", "ivan", "judy")
OTHER_STYLE = "adventurer"
SUITE = "nie2023"
CLEAN = "none"  # the name of the attack that does nothing


@dataclass(frozen=True)
class Sample:
    """An image file to attribute; paths are relative to the folder. `user` made it: None for nobody.

    `plain` is the same image without its code, `clean` with it and before the attack.
    """

    file: str
    user: str | None
    source: str
    attack: str = CLEAN
    plain: str | None = None
    clean: str | None = None


@dataclass(frozen=True, kw_only=True)
class File(Sample):
    """A sample with what was found. `matched_bits` and `p_value` are those of the best user.

    `confidence` is P(bit = 1) of every bit; `psnr` compares `clean` with `plain`, in dB.
    """

    verdict: str
    named: str | None
    matched_bits: int | None
    bits: int
    p_value: float | None
    status: str
    seconds: float
    correct: bool
    wrong_bits: int | None
    confidence: list[float] | None
    psnr: float | None


@dataclass(frozen=True)
class Settings:
    """Of the generator, the fingerprint and the attribution; `stages`: how many files each decided."""

    generator: str
    sha256: str
    size: int
    sigma: float
    shift: int
    bits: int
    coding: str
    min_distance: int
    users: int
    images: int
    stages: str
    alpha: float
    seed: int


@dataclass(frozen=True)
class Accuracy:
    """Of the users' files under one attack; `interval` is that of the share that named its user, 95 %."""

    attack: str
    files: int
    correct: int
    all_bits: int
    bit_accuracy: float
    interval: list[float]


@dataclass(frozen=True)
class Negatives:
    """Files of a source that nobody's copy made, and how many were attributed to a user all the same."""

    source: str
    files: int
    accused: int


@dataclass(frozen=True)
class Record:
    """The whole of report.json.

    `seconds`: wall-clock time of each part. `stds`: standard deviation of every principal axis. `users`: the
    code of each, in 0 and 1.
    """

    title: str
    created: str
    command: str
    versions: dict[str, str]
    hardware: str
    settings: Settings
    seconds: dict[str, float]
    stds: list[float]
    users: dict[str, str]
    files: list[File]
    accuracy: list[Accuracy]
    negatives: list[Negatives]


def run(out: Path, *, users: int, images: int, generator: str, sigma: float | None, seed: int) -> Record:
    """Make the folder and return the record in its report.json. ValueError where it exists."""
    if os.path.lexists(out):
        raise ValueError(f"{out} exists and nothing is overwritten: choose another folder with --out")
    clock = [time.perf_counter()]
    deployment = fitting.fit(out / "deployment", generator=generator, sigma=sigma)
    loaded = load_generator(deployment)
    deployment.registry.add([name_of(i) for i in range(users)], seed=seed)
    added = deployment.registry.users()
    clock.append(time.perf_counter())
    subject = subject_in(deployment, loaded)
    samples = list(write_copies(out, subject, added, images, seed))
    samples += write_negatives(out, subject, images=max(3, images), seed=seed)
    clock.append(time.perf_counter())
    samples += write_attacked(out, [s for s in samples if s.user and s.file.endswith("-0000.png")], seed)
    clock.append(time.perf_counter())
    with progress("attributing", len(samples)) as advance:
        prepared = prepare(deployment, loaded, Request(seed=seed, committed=True))
        findings = list(attribute_all(prepared, [out / it.file for it in samples], progress=advance))
    clock.append(time.perf_counter())
    manifest, codes = deployment.manifest, {user.name: user.code for user in added}
    files = [describe(out, *pair, codes) for pair in zip(samples, findings, strict=True)]
    decided = Counter(finding.stage for finding in findings if finding.stage is not None)
    settings = Settings(
        generator=manifest.generator.name,
        sha256=manifest.generator.identity,
        size=loaded.generator.image_shape[0],
        sigma=manifest.sigma,
        shift=manifest.shift,
        bits=manifest.bits,
        coding=manifest.coding.value,
        min_distance=manifest.min_distance,
        users=len(added),
        images=images,
        stages=", ".join(f"{stage} {n}" for stage, n in decided.most_common()),
        alpha=ALPHA,
        seed=seed,
    )
    taken = [round(end - begin, 2) for begin, end in pairwise(clock)]
    record = Record(
        title="latentfp demo",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=" ".join(["latentfp", *sys.argv[1:]]),
        versions=manifest.versions | {"python": platform.python_version()},
        hardware=f"{cpu()}, JAX on {jax.default_backend()}",
        settings=settings,
        seconds=dict(zip(("fit", "generate", "attack", "attribute"), taken, strict=True)),
        stds=np.asarray(deployment.basis.stds).tolist(),
        users={name: "".join("01"[int(bit)] for bit in code) for name, code in codes.items()},
        files=files,
        accuracy=accuracy(files),
        negatives=negatives(files),
    )
    (out / "report.json").write_text(json.dumps(asdict(record), indent=1))
    return record


def name_of(i: int) -> str:
    """alice, bob, …, then user11, …"""
    return NAMES[i] if i < len(NAMES) else f"user{i + 1}"


def save(out: Path, name: str, pixels: np.ndarray) -> str:
    """Write pixels below the folder and return the relative path."""
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, pixels)
    return name


def write_copies(
    out: Path, subject: Subject, users: Sequence[User], images: int, seed: int
) -> Iterator[Sample]:
    """Every user's images, with and without the code."""
    for user in track(users, "generating"):
        key = rng.stream(rng.root(seed), f"copy/{user.name}")
        pairs = issue(subject, np.tile(user.code, (images, 1)), key=key)
        for i, (plain, marked) in enumerate(zip(*pairs, strict=True)):
            name = f"{user.name}/{user.name}-{i:04d}.png"
            bare = save(out, f"plain/{name}", plain)
            clean = save(out, f"images/{name}", marked)
            yield Sample(clean, user.name, user.name, plain=bare, clean=clean)


def write_negatives(out: Path, subject: Subject, *, images: int, seed: int) -> Iterator[Sample]:
    """Images that nobody's copy made: unmarked ones, and another style where it can be drawn."""
    nobody, key = np.zeros((images, subject.bits), bool), rng.stream(rng.root(seed), "unmarked")
    sources = {"unmarked": issue(subject, nobody, key=key).plain}
    try:
        drawn = avatars.render_many(OTHER_STYLE, range(images), workers=1)
        sources[f"avatars-{OTHER_STYLE}"] = avatars.shrink(drawn, subject.generator.image_shape[0])
    except ImportError:
        pass  # the drawing packages belong to the extra `train`
    for source, pictures in sources.items():
        for i, pixels in enumerate(pictures):
            yield Sample(save(out, f"negatives/{source}/{i:04d}.png", pixels), None, source)


def write_attacked(out: Path, clean: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """Every attack of the suite on the files of `clean`."""
    for attack in suite(SUITE):
        if attack.name == CLEAN:
            continue
        for i, sample in enumerate(track(clean, attack.name)):
            key = rng.stream(rng.root(seed), f"attack/{attack.name}", i)
            pixels = attack.apply(key, read_image(out / sample.file, size=None))
            path = save(out, f"attacked/{attack.name}/{sample.file.removeprefix('images/')}", pixels)
            yield replace(sample, file=path, attack=attack.name)


def describe(out: Path, sample: Sample, finding: Finding, codes: dict[str, np.ndarray]) -> File:
    """One file."""
    known = codes.get(sample.user or "")
    logits = None if finding.answer is None else np.asarray(finding.answer.estimate.logits[0])
    wrong = None if known is None or logits is None else int(np.sum((logits > 0) != known))
    return File(
        **asdict(sample),
        verdict=finding.verdict,
        named=finding.user,
        matched_bits=finding.matched_bits,
        bits=finding.bits,
        p_value=finding.p_value,
        status=finding.status,
        seconds=finding.seconds,
        correct=finding.user == sample.user,
        wrong_bits=wrong,
        confidence=None if logits is None else scipy.special.expit(np.asarray(logits, float)).tolist(),
        psnr=_psnr(out, sample) if sample.plain and sample.file == sample.clean else None,
    )


def _psnr(out: Path, sample: Sample) -> float:
    pair = [to_float(read_image(out / str(name), size=None)) for name in (sample.clean, sample.plain)]
    return float(psnr(*map(jnp.asarray, pair)))


def accuracy(files: Sequence[File]) -> list[Accuracy]:
    """Of the users' files, by attack; of a file that could not be read no bit is right."""
    rows = []
    for attack in dict.fromkeys(file.attack for file in files if file.user):
        some = [file for file in files if file.user and file.attack == attack]
        correct = sum(file.correct for file in some)
        wrong = [file.bits if file.wrong_bits is None else file.wrong_bits for file in some]
        rows.append(
            Accuracy(
                attack=attack,
                files=len(some),
                correct=correct,
                all_bits=wrong.count(0),
                bit_accuracy=float(np.mean([1 - n / file.bits for n, file in zip(wrong, some, strict=True)])),
                interval=list(binomial_interval(correct, len(some))),
            )
        )
    return rows


def negatives(files: Sequence[File]) -> list[Negatives]:
    """Of the files that nobody's copy made, by source."""
    rows = []
    for source in dict.fromkeys(file.source for file in files if not file.user):
        some = [file for file in files if not file.user and file.source == source]
        rows.append(Negatives(source, len(some), sum(file.named is not None for file in some)))
    return rows


def summary(record: Record) -> str:
    """The outcome in a few lines."""
    lines = [f"{'attack':<12} files named  bits"]
    for row in record.accuracy:
        lines.append(f"{row.attack:<12} {row.files:>5} {row.correct:>5}  {row.bit_accuracy:.3f}")
    lines += [f"{row.source}: {row.accused} of {row.files} accused" for row in record.negatives]
    return "\n".join(lines)
