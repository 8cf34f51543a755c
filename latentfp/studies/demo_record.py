"""The record of a demonstration, report.json: what was set, what was found of each file, and the counts.

The page of a demonstration (report/demo.py) shows this record and the image files that it names.
"""

import platform
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from latentfp.attribution.verdict import ALPHA
from latentfp.data.files import read_image
from latentfp.deployment.attribute import Finding
from latentfp.deployment.deployment import Deployment
from latentfp.deployment.registry import User
from latentfp.pixels import to_float
from latentfp.quality.pixels import psnr
from latentfp.runtime.machine import cpu
from latentfp.studies.intervals import binomial_interval

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


def make(
    out: Path,
    deployment: Deployment,
    users: Sequence[User],
    samples: Sequence[Sample],
    findings: Sequence[Finding],
    *,
    seconds: dict[str, float],
    images: int,
    seed: int,
    size: int,
) -> Record:
    """The record of a demonstration in the folder `out`."""
    manifest = deployment.manifest
    codes = {user.name: user.code for user in users}
    files = [describe(out, *pair, codes) for pair in zip(samples, findings, strict=True)]
    settings = Settings(
        generator=manifest.generator.name,
        sha256=manifest.generator.identity,
        size=size,
        sigma=manifest.sigma,
        shift=manifest.shift,
        bits=manifest.bits,
        coding=manifest.coding.value,
        min_distance=manifest.min_distance,
        users=len(users),
        images=images,
        stages=stages(findings),
        alpha=ALPHA,
        seed=seed,
    )
    return Record(
        title="latentfp demo",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=" ".join(["latentfp", *sys.argv[1:]]),
        versions=manifest.versions | {"python": platform.python_version()},
        hardware=f"{cpu()}, JAX on {jax.default_backend()}",
        settings=settings,
        seconds=seconds,
        stds=np.asarray(deployment.basis.stds).tolist(),
        users={name: "".join("01"[int(bit)] for bit in code) for name, code in codes.items()},
        files=files,
        accuracy=accuracy(files),
        negatives=negatives(files),
    )


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


def stages(findings: Sequence[Finding]) -> str:
    """How many files each stage of the attribution decided, in words."""
    counts = Counter(finding.stage for finding in findings if finding.stage is not None)
    return ", ".join(f"{stage} {n}" for stage, n in counts.most_common())
