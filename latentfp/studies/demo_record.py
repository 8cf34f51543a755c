"""The record of a demonstration, report.json: what was set, what was found for each file, and the counts."""

import platform
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from latentfp.attribution.verdict import ALPHA
from latentfp.data.files import read_image
from latentfp.deployment.deployment import Deployment
from latentfp.deployment.investigate import Finding
from latentfp.deployment.registry import User
from latentfp.pixels import to_float
from latentfp.quality.pixels import psnr
from latentfp.runtime.machine import cpu
from latentfp.studies.intervals import binomial_interval


class Sample(NamedTuple):
    """One file to attribute; paths are relative to the folder. `user` is who made it, None for nobody."""

    file: str
    user: str | None
    source: str
    attack: str = "none"
    plain: str | None = None
    clean: str | None = None


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
) -> dict[str, Any]:
    """The whole record, ready for JSON."""
    manifest = deployment.manifest
    codes = {user.name: user.code for user in users}
    files = [describe(out, *pair, codes) for pair in zip(samples, findings, strict=True)]
    return {
        "title": "latentfp demo",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["latentfp", *sys.argv[1:]]),
        "versions": manifest.versions | {"python": platform.python_version()},
        "hardware": f"{cpu()}, JAX on {jax.default_backend()}",
        "settings": {
            "generator": manifest.generator.name,
            "sha256": manifest.generator.sha256,
            "size": size,
            "sigma": manifest.sigma,
            "shift": manifest.shift,
            "bits": manifest.bits,
            "coding": manifest.coding.value,
            "min_distance": manifest.min_distance,
            "users": len(users),
            "images": images,
            "stages": stages(findings),
            "alpha": ALPHA,
            "seed": seed,
        },
        "seconds": seconds,
        "spectrum": {
            "stds": np.asarray(deployment.basis.stds).tolist(),
            "shift": manifest.shift,
            "bits": manifest.bits,
            "sigma": manifest.sigma,
        },
        "users": [
            {"name": name, "code": "".join("01"[int(bit)] for bit in code)} for name, code in codes.items()
        ],
        "files": files,
        "accuracy": accuracy(files),
        "negatives": negatives(files),
    }


def describe(out: Path, sample: Sample, finding: Finding, codes: dict[str, np.ndarray]) -> dict[str, Any]:
    """One file."""
    known = codes.get(sample.user or "")
    logits = None if finding.answer is None else np.asarray(finding.answer.estimate.logits[0])
    wrong = None if known is None or logits is None else int(np.sum((logits > 0) != known))
    return {
        **sample._asdict(),
        "verdict": finding.verdict,
        "named": finding.user,
        "matched_bits": finding.matched_bits,
        "bits": finding.bits,
        "p_value": finding.p_value,
        "status": finding.status,
        "seconds": finding.seconds,
        "correct": finding.user == sample.user,
        "wrong_bits": wrong,
        "confidence": None if logits is None else scipy.special.expit(np.asarray(logits, float)).tolist(),
        "psnr": _psnr(out, sample) if sample.plain and sample.file == sample.clean else None,
    }


def _psnr(out: Path, sample: Sample) -> float:
    pair = [to_float(read_image(out / str(name), size=None)) for name in (sample.clean, sample.plain)]
    return float(psnr(*map(jnp.asarray, pair)))


def accuracy(files: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the users' files, by attack."""
    rows = []
    for attack in dict.fromkeys(file["attack"] for file in files if file["user"]):
        some = [file for file in files if file["user"] and file["attack"] == attack]
        correct = sum(file["correct"] for file in some)
        rows.append(
            {
                "attack": attack,
                "files": len(some),
                "correct": correct,
                "all_bits": sum(file["wrong_bits"] == 0 for file in some),
                "bit_accuracy": float(np.mean([1 - file["wrong_bits"] / file["bits"] for file in some])),
                "interval": list(binomial_interval(correct, len(some))),
            }
        )
    return rows


def negatives(files: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the files that nobody's copy made, by source."""
    rows = []
    for source in dict.fromkeys(file["source"] for file in files if not file["user"]):
        some = [file for file in files if not file["user"] and file["source"] == source]
        accused = sum(file["named"] is not None for file in some)
        rows.append({"source": source, "files": len(some), "accused": accused})
    return rows


def summary(report: dict[str, Any]) -> str:
    """The outcome in a few lines."""
    lines = [f"{'attack':<12} files named  bits"]
    for row in report["accuracy"]:
        lines.append(f"{row['attack']:<12} {row['files']:>5} {row['correct']:>5}  {row['bit_accuracy']:.3f}")
    for row in report["negatives"]:
        lines.append(f"{row['source']}: {row['accused']} of {row['files']} accused")
    return "\n".join(lines)


def stages(findings: Sequence[Finding]) -> str:
    """How many files each stage of the attribution decided, in words."""
    counts = Counter(finding.stage for finding in findings if finding.stage is not None)
    return ", ".join(f"{stage} {n}" for stage, n in counts.most_common())
