"""A case: what was found of some files, with all that others need to check it, as one signed record.

case        when, with which versions, and what was asked
deployment  its identity, and hashes of manifest, generator, basis, decoder and registered codes
files       of each the SHA-256, the finding, P(bit = 1) of every bit, and its sensitivity: what other
            methods and seeds say of it. These decide nothing; the verdict is the first finding.
signature   signature.py
"""

import math
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from scipy.special import expit

import latentfp
from latentfp.attribution.decoder import Reading, rendered
from latentfp.choices import Method
from latentfp.data.files import file_hash
from latentfp.deployment import decoders
from latentfp.deployment.attribute import Finding, Request, attribute_all, prepare
from latentfp.deployment.codebook import SEARCHED
from latentfp.deployment.constants import subject_in
from latentfp.deployment.deployment import MANIFEST, Deployment, Opening, load_generator, open_deployment
from latentfp.deployment.manifest import now, sha256
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_pixels
from latentfp.types import Pixels

FORMAT = 1
SEEDS = 3  # of descents from several starts


class Case(NamedTuple):
    """The record, and for every file what its explanation looks like, None where there is none."""

    record: dict[str, Any]
    explanations: list[Pixels | None]


def make_case(
    folder: Opening, findings: Sequence[Finding], request: Request, *, resize: bool = False
) -> Case:
    """The case of files that were attributed as `request` asks; other methods attribute them again.

    ValueError where a file has changed since.
    """
    opened = open_deployment(folder)
    loaded = load_generator(opened)
    for it in findings:
        if file_hash(it.file) != it.sha256:
            raise ValueError(f"{it.file} has changed since it was attributed: attribute it again")
    other = _sensitivity(opened, loaded, findings, request, resize=resize)
    entries = [
        {**_file(it), "sensitivity": [row[i] for row in other]} if it.answer is not None else _file(it)
        for i, it in enumerate(findings)
    ]
    record = {
        "case": {
            "format": FORMAT,
            "created": now(),
            "versions": _versions(),
            "platform": f"{platform.platform()}, {jax.default_backend()}",
            "request": request_facts(request, resize=resize),
        },
        "deployment": deployment_facts(opened, request),
        "files": entries,
    }
    return Case(record, _explanations(opened, loaded, findings))


def _versions() -> dict[str, str]:
    packages = {"latentfp": latentfp, "jax": jax, "numpy": np, "scipy": scipy}
    python = {"python": platform.python_version()}
    return python | {name: package.__version__ for name, package in packages.items()}


def request_facts(request: Request, *, resize: bool) -> dict[str, Any]:
    """What was asked, as JSON."""
    asked = {
        **request._asdict(),
        "method": request.method.value,
        "until": request.until.name.lower(),
        "resize": resize,
    }
    asked |= {name: None if asked[name] is None else str(asked[name]) for name in ("vgg", "decoder")}
    return asked | {"damage": None if request.damage is None else dict(request.damage)}


def deployment_facts(opened: Deployment, request: Request) -> dict[str, Any]:
    """What answers depend on: identity, and hashes of manifest, generator, basis, decoder and codes."""
    manifest = opened.manifest
    trained = decoders.find(opened) if request.decoder is None else decoders.load(request.decoder, opened)
    users = opened.registry.count()
    codes = opened.registry.packed().tobytes() if users <= SEARCHED else None
    return {
        "id": manifest.id,
        "created": manifest.created,
        "manifest": sha256((opened.path / MANIFEST).read_bytes()),
        "generator": manifest.generator._asdict(),
        "parts": dict(manifest.parts),
        "decoder": None if trained is None else trained.sha256,
        "bits": manifest.bits,
        "sigma": manifest.sigma,
        "shift": manifest.shift,
        "coding": manifest.coding.value,
        "code_book": {
            **manifest.codes._asdict(),
            "kind": manifest.codes.kind.value,
            "min_distance": manifest.min_distance,
            "repeats": manifest.repeats,
            "secret": manifest.rotation != "",
        },
        "users": users,
        "codes": None if codes is None else sha256(codes),
    }


def _file(finding: Finding) -> dict[str, Any]:
    posteriors = [] if finding.answer is None else expit(finding.answer.estimate.logits[0]).tolist()
    return {
        **{name: _number(value) for name, value in finding.to_json().items()},
        "posteriors": [round(p, 6) for p in posteriors],
    }


def _sensitivity(
    opened: Deployment,
    loaded: Pretrained,
    findings: Sequence[Finding],
    request: Request,
    *,
    resize: bool,
) -> list[list[dict[str, Any]]]:
    """For every variation of the request what it says of each file."""
    paths = [Path(it.file) for it in findings]
    rows = []
    for varied in _variations(opened, loaded, request):
        prepared = prepare(opened, loaded, varied, resized=resize)
        found = attribute_all(prepared, paths, resize=resize)
        rows.append([_brief(varied.method, varied.seed, it) for it in found])
    return rows


def _variations(opened: Deployment, loaded: Pretrained, request: Request) -> Iterable[Request]:
    """The same request with other seeds, then every stage alone, the starts with several seeds."""
    for i in range(1, SEEDS):
        yield request._replace(seed=request.seed + i)
    alone = request._replace(starts=None, steps=None, distance="multiscale", vgg=None)
    if loaded.generator.encode is not None:
        yield alone._replace(method=Method.ENCODER)
    if opened.basis.stds.shape[0] < loaded.generator.latent_dim:
        return
    if decoders.find(opened) is not None or request.decoder is not None:
        yield alone._replace(method=Method.DECODER)
        yield alone._replace(method=Method.REFINE)
    for i in range(SEEDS):
        yield alone._replace(method=Method.MULTISTART, seed=request.seed + i)


def _brief(method: Method, seed: int, finding: Finding) -> dict[str, Any]:
    kept = ("verdict", "user", "matched_bits", "p_value", "residual")
    said = {name: _number(getattr(finding, name)) for name in kept}
    best = finding.ranked[0].user if finding.ranked else None
    return {"method": method.value, "seed": seed, **said, "best": best}


def _explanations(opened: Deployment, loaded: Pretrained, findings: Sequence[Finding]) -> list[Pixels | None]:
    """What the generator makes of each estimate, with the inferred warp, blur and tone, in 8 bits."""
    subject = subject_in(opened, loaded)
    shown: list[Pixels | None] = []
    for finding in findings:
        if finding.answer is None or not subject.complete:
            shown.append(None)
            continue
        estimate = finding.answer.estimate
        content = jnp.asarray(estimate.content) / subject.space.content_stds[None]
        reading = Reading(content, jnp.asarray(estimate.logits), jnp.asarray(finding.answer.distortion))
        images = rendered(loaded.generator, loaded.params, subject.whitened, reading)
        shown.append(np.asarray(to_pixels(jnp.nan_to_num(images)))[0])
    return shown


def _number(value: Any) -> Any:
    """JSON has no infinite numbers and no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
