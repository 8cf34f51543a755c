"""What is computed once for a deployment and kept: mean curvature of its images, calibration of its encoder.

    curvature.safetensors, encoder.safetensors      the arrays, and what they belong to

Both follow from generator, axes, strength and coding alone. They lie in the deployment's folder, or, where
that cannot be written, in the user's cache folder. What belongs to anything else, or whose hash is not that
of its arrays, is not believed but computed again.
"""

import hashlib
import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from latentfp import rng
from latentfp.attribution import encoder
from latentfp.attribution.descent import Subject
from latentfp.attribution.encoder import Calibration
from latentfp.attribution.whitening import MOST_EXACT, Curvature, mean_curvature, whiten
from latentfp.choices import Coding
from latentfp.deployment.deployment import BASIS, Deployment
from latentfp.fingerprint.basis import Space
from latentfp.generators.pretrained import Pretrained
from latentfp.runtime.environment import private_folder
from latentfp.runtime.files import replacing

VERSION = 2  # of how they are computed
PROBES, PROBE_BATCH = 1024, 16  # of the mean curvature
FEW_PROBES, FEW_BATCH = 128, 1  # of that of more coordinates than MOST_EXACT
Constant = TypeVar("Constant", Curvature, Calibration)


def subject_of(pretrained: Pretrained, space: Space, *, sigma: float, coding: Coding) -> Subject:
    """What the stages know of a fingerprint space. Its constants are computed when first asked for."""
    generator, params = pretrained.generator, pretrained.params
    whitened = whiten(space, sigma=sigma, coding=coding)
    key = rng.root(0)

    def curvature() -> Curvature:
        few = whitened.size > MOST_EXACT
        probes, batch = (FEW_PROBES, FEW_BATCH) if few else (PROBES, PROBE_BATCH)
        named = rng.stream(key, "curvature")
        return mean_curvature(generator, params, whitened, named, batch=batch, probes=probes)

    def calibration() -> Calibration:
        bits = space.code_axes.shape[0]
        return encoder.calibrate(generator, params, whitened, rng.stream(key, "encoder"), bits=bits)

    return Subject(generator, params, space, whitened, sigma, coding, cache(curvature), cache(calibration))


def subject_in(opened: Deployment, loaded: Pretrained) -> Subject:
    """What the stages know of an opened deployment, whose generator was loaded; with its kept constants."""
    manifest = opened.manifest
    subject = subject_of(loaded, opened.space, sigma=manifest.sigma, coding=manifest.coding)
    return subject._replace(
        curvature=cache(partial(_kept, opened, "curvature", Curvature, subject.curvature)),
        calibration=cache(partial(_kept, opened, "encoder", Calibration, subject.calibration)),
    )


def _kept(
    opened: Deployment, name: str, kind: Callable[..., Constant], compute: Callable[[], Constant]
) -> Constant:
    belongs = _belonging(opened)
    digest = hashlib.sha256(belongs.encode()).hexdigest()
    own = opened.path / f"{name}.safetensors"
    elsewhere = private_folder("constants")
    places = [own] + ([] if elsewhere is None else [elsewhere / f"{name}-{digest[:32]}.safetensors"])
    for path in places:
        arrays = _read(path, belongs)
        if arrays is not None:
            return kind(**arrays)
    found = compute()
    arrays = {field: np.asarray(value) for field, value in found._asdict().items()}
    for path in places:
        if _write(path, arrays, belongs):
            break
    return found


def _belonging(opened: Deployment) -> str:
    """What the constants follow from, as JSON."""
    manifest = opened.manifest
    facts = {
        "version": VERSION,
        "probes": [PROBES, PROBE_BATCH, FEW_PROBES, FEW_BATCH],
        "samples": [*encoder.SAMPLES, encoder.PIXELS, encoder.BATCH, encoder.PIXELS_AT_ONCE],
        "generator": {**manifest.generator._asdict(), "name": ""},
        "basis": manifest.parts[BASIS],
        "axes": manifest.axes,
        "sigma": manifest.sigma,
        "shift": manifest.shift,
        "bits": manifest.bits,
        "coding": manifest.coding,
    }
    return json.dumps(facts, sort_keys=True)


def _hash(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(
            f"{name} {array.dtype} {array.shape}\n".encode() + np.ascontiguousarray(array).tobytes()
        )
    return digest.hexdigest()


def _read(path: Path, belongs: str) -> dict[str, jax.Array] | None:
    """The arrays of a file, or None where there is none that can be believed."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            facts = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError):
        return None
    if (facts.get("belongs"), facts.get("sha256")) != (belongs, _hash(arrays)):
        return None
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def _write(path: Path, arrays: dict[str, np.ndarray], belongs: str) -> bool:
    """Whether the file could be written."""
    facts = {"belongs": belongs, "sha256": _hash(arrays)}
    try:
        with replacing(path) as fresh:
            fresh.write_bytes(safetensors.numpy.save(arrays, metadata=facts))
    except OSError:
        return False
    return True
