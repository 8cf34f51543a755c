"""A case: what was found of some files, with all that others need to check it, as a page and a signed record.

PAGE.html is for people: it needs nothing else and runs nothing. PAGE.json is the record beside it:

case        when, with which versions, and what was asked
judgement   how many users were considered, by what chances are multiplied and why, and the limit for `none`
deployment  its identity, hashes of manifest, generator, basis, decoder and registered codes, the log's head
files       of each the hashes of the file and of its pixels, the finding, the `evidence` from which p-value
            and verdict follow, the `opening` of the accused user's code, and its sensitivity: what other
            methods and seeds say of it. These decide nothing; the verdict is the first finding.
page        its name and hash
signer, signature      deployment/signature.py

report/check.py computes all of it again. Both are readable by their owner alone: the ratios of a file's
evidence are a code. No other user's code is in them.
"""

import json
import os
import platform
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from scipy.special import expit

import latentfp
from latentfp.attribution import covered
from latentfp.attribution.decoder import Reading, rendered
from latentfp.attribution.evidence import STEP
from latentfp.attribution.orientation import orientations, turned
from latentfp.attribution.verdict import CLEARED
from latentfp.choices import MEANINGS, Distance, Method
from latentfp.data.files import UnreadableImage, file_hash, read_image
from latentfp.deployment import decoders
from latentfp.deployment.attribute import (
    Finding,
    Request,
    attribute_all,
    deployment_facts,
    finite,
    prepare,
    request_facts,
)
from latentfp.deployment.constants import subject_in
from latentfp.deployment.deployment import Deployment, load_generator
from latentfp.deployment.manifest import now, sha256
from latentfp.deployment.signature import Record, sign
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_pixels
from latentfp.report.check import FORMAT
from latentfp.report.html import (
    badge,
    difference,
    filled,
    picture,
    power_of_ten,
    side_by_side,
    strip,
    table,
    terms,
)
from latentfp.report.markdown import count
from latentfp.runtime.files import replacing
from latentfp.types import Pixels

BLANK = 128  # grey level of what was left out
SEEDS = 3  # of descents from several starts
FACTS = (
    "residual",
    "chance that one of the generator's fits so badly",
    "chance that the file's own code reads so badly",
    "likelihood ratio, among all users",
    "inferred damage",
    "SHA-256",
)
RANKED = ("ranked user", "bits", "ln likelihood")
VARIED = ("method", "seed", "verdict", "best user", "bits", "p", "residual")
SIGNS = {"user": ("right", "✓"), "none": ("missed", "○"), "inconclusive": ("missed", "?")}


def write_case(
    page: Path,
    opened: Deployment,
    findings: Sequence[Finding],
    request: Request,
    key: Ed25519PrivateKey,
) -> Path:
    """Write the page of files that were attributed as `request` asks and, with the suffix .json, its record.

    Other methods attribute the files again. The record's hash enters the audit log; returns its path.
    ValueError where a file has changed since, and for a page whose own suffix is .json.
    """
    record_path, loaded = record_of(page), load_generator(opened)
    for it in findings:
        if file_hash(it.file) != it.sha256:
            raise ValueError(f"{it.file} has changed since it was attributed: attribute it again")
    record = _record(opened, loaded, findings, request)
    text = render(record, _explanations(opened, loaded, findings), record_path.name)
    encoded = text.encode("utf-8", "backslashreplace")
    signed = sign({**record, "page": {"name": page.name, "sha256": sha256(encoded)}}, key)
    data = json.dumps(signed, indent=1, allow_nan=False).encode() + b"\n"
    page.parent.mkdir(parents=True, exist_ok=True)
    for path, content in ((page, encoded), (record_path, data)):
        with (
            replacing(path) as fresh,
            os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
        ):
            file.write(content)
    opened.registry.note("report", {"record": sha256(data)})
    return record_path


def record_of(page: Path) -> Path:
    """Where the record of a page lies. ValueError for a page that would lie there itself."""
    if page.suffix == ".json":
        raise ValueError(f"{page} is where the record would lie: name the page, such as case.html")
    return page.with_suffix(".json")


def _record(opened: Deployment, loaded: Pretrained, findings: Sequence[Finding], request: Request) -> Record:
    versions = {"latentfp": latentfp, "jax": jax, "numpy": np, "scipy": scipy}
    other = _sensitivity(opened, loaded, findings, request)
    prepared = prepare(opened, loaded, request)
    among, seal = prepared.rule.registered, opened.registry.seal()
    return {
        "case": {
            "format": FORMAT,
            "created": now(),
            "versions": {
                "python": platform.python_version(),
                **{name: package.__version__ for name, package in versions.items()},
            },
            "platform": f"{platform.platform()}, {jax.default_backend()}",
            "request": request_facts(request),
        },
        "judgement": {
            "users": among.users,
            "factor": among.bonferroni,
            "looks": prepared.cascade.verdicts,
            "dependent": among.dependent,
            "cleared": CLEARED,
        },
        "deployment": {
            **deployment_facts(opened, request),
            "log": {"entries": seal.entries, "head": seal.head.hex(), "root": seal.root.hex()},
        },
        "files": [_entry(opened, it, [row[i] for row in other]) for i, it in enumerate(findings)],
    }


def _entry(opened: Deployment, finding: Finding, sensitivity: list[Record]) -> Record:
    return {
        **finding.to_json(),
        "evidence": None if finding.evidence is None else finding.evidence._asdict(),
        "opening": None if finding.user is None else opened.registry.opening(finding.user),
        "sensitivity": sensitivity if finding.evidence else [],
    }


def _sensitivity(
    opened: Deployment,
    loaded: Pretrained,
    findings: Sequence[Finding],
    request: Request,
) -> list[list[Record]]:
    """For every variation of the request what it says of each file."""
    paths = [Path(it.file) for it in findings]
    rows = []
    for varied in _variations(opened, loaded, request):
        prepared = prepare(opened, loaded, varied)
        found = attribute_all(prepared, paths)
        rows.append([_brief(varied.method, varied.seed, it) for it in found])
    return rows


def _variations(opened: Deployment, loaded: Pretrained, request: Request) -> Iterable[Request]:
    """The same request with other seeds, then every stage alone, the starts with several seeds.

    Nothing is random in a request that starts from a reading.
    """
    decoded = decoders.find(opened) is not None or request.decoder is not None
    read = decoded or loaded.generator.encode is not None
    if not read or request.method in (Method.MULTISTART, Method.REFERENCE):
        for i in range(1, SEEDS):
            yield request._replace(seed=request.seed + i)
    alone = request._replace(starts=None, steps=None, distance=Distance.MULTISCALE, vgg=None)
    if loaded.generator.encode is not None:
        yield alone._replace(method=Method.ENCODER)
    if not subject_in(opened, loaded).complete:
        return
    if decoded:
        yield alone._replace(method=Method.DECODER)
        yield alone._replace(method=Method.REFINE)
    for i in range(SEEDS):
        yield alone._replace(method=Method.MULTISTART, seed=request.seed + i)


def _brief(method: Method, seed: int, finding: Finding) -> Record:
    kept = ("verdict", "user", "matched_bits", "p_value", "residual")
    said = {name: finite(getattr(finding, name)) for name in kept}
    best = finding.ranked[0].user if finding.ranked else None
    return {"method": method, "seed": seed, **said, "best": best}


def _explanations(opened: Deployment, loaded: Pretrained, findings: Sequence[Finding]) -> list[Pixels | None]:
    """What the generator makes of each estimate, with the inferred warp, blur and tone, in 8 bits; parts that
    were left out are BLANK."""
    subject = subject_in(opened, loaded)
    shown: list[Pixels | None] = []
    for finding in findings:
        if finding.answer is None or not subject.complete:
            shown.append(None)
            continue
        estimate = finding.answer.estimate
        content = jnp.asarray(estimate.content / subject.content_stds[None])
        reading = Reading(content, jnp.asarray(estimate.logits), jnp.asarray(finding.answer.distortion))
        images = rendered(loaded.generator, loaded.params, subject.whitened, reading)
        way = orientations(*images.shape[1:3])[int(finding.answer.orientation[0])]
        made, hidden = np.asarray(to_pixels(jnp.nan_to_num(images))), finding.answer.hidden
        made = np.where(covered.pixels_of(hidden, *made.shape[1:3])[..., None], BLANK, made)
        shown.append(turned(made.astype(np.uint8), way)[0])
    return shown


def render(record: Record, explanations: Sequence[Pixels | None], record_name: str) -> str:
    """The page as text."""
    about, deployment, files = record["case"], record["deployment"], record["files"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    shown = zip(files, explanations, strict=True)
    settings = {
        "generator": escape(deployment["generator"]["name"]),
        "users searched": str(deployment["users"]),
        "code": f"{deployment['bits']} bits, {escape(deployment['code_book']['kind'])}",
        "method": escape(about["request"]["method"]),
        "limit for a name": f"p ≤ {power_of_ten(about['request']['alpha'])}, "
        + ("over all files together" if about["request"]["case"] else "for each file"),
        "seed": str(about["request"]["seed"]),
    }
    return filled(
        "case.html",
        title=escape(f"Case of {about['created']}"),
        created=escape(about["created"]),
        headline=_headline(files),
        settings=terms(settings),
        files="".join(_file(file, explanation) for file, explanation in shown),
        origin=table((), _origin(record), named=True),
        record=escape(record_name),
        users=str(deployment["users"]),
        alpha=power_of_ten(about["request"]["alpha"]),
        versions=escape(f"{versions}; {about['platform']}"),
    )


def _headline(files: list[Record]) -> str:
    words = {"user": "attributed to a user", "none": "to none", "inconclusive": "inconclusive"}
    counts = {word: sum(it["verdict"] == kind for it in files) for kind, word in words.items()}
    unread = len(files) - sum(counts.values())
    parts = [f"{number} {word}" for word, number in counts.items() if number]
    return escape(
        f"{count(len(files), 'file')}: {', '.join(parts + ([f'{unread} not readable'] * (unread > 0)))}"
    )


def _file(file: Record, explanation: Pixels | None) -> str:
    name = f"<h3>{escape(file['file'])}</h3>"
    if file["verdict"] == "unreadable":
        return f"{name}<p>{badge('unreadable', '!', 'not readable')} {escape(file['status'])}</p>"
    p = "not stated" if file["p_value"] is None else power_of_ten(file["p_value"])
    said = file["user"] or f"{file['verdict']}: {MEANINGS[file['verdict']]}"
    words = "" if file["support"] is None else f", {file['support']}"
    evidence = f"p = {p}{words}, {file['matched_bits']} of {file['bits']} bits, by {file['stage']}"
    parts = [
        f"{name}<p>{badge(*SIGNS[file['verdict']], said)} {evidence}</p>",
        _pictures(file, explanation),
        strip(
            expit(STEP * np.array(file["evidence"]["ratios"])).tolist(),
            None,
            label=f"P(bit = 1) of the bits of {file['file']}",
        ),
        table(FACTS, [_facts(file)]),
        table(RANKED, map(_ranked, file["ranked"])),
        table(VARIED, map(_varied, file["sensitivity"])),
    ]
    return "".join(parts)


def _facts(file: Record) -> list[str]:
    strengths = [f"{name} {strength:g}" for name, strength in (file["damage"] or {}).items()]
    left_out = f"{file['left_out']:.0%} left out" if file["left_out"] else None
    damage = ", ".join([*strengths, *filter(None, [file["orientation"], left_out])])
    miss = "–" if file["miss_p_value"] is None else power_of_ten(file["miss_p_value"])
    membership = "not tested" if file["membership"] is None else power_of_ten(file["membership"])
    return [
        _residual(file),
        membership,
        miss,
        "not stated" if file["log10_lr"] is None else f"10^{file['log10_lr']:.1f}",
        escape(damage) or "none",
        f"<code>{file['sha256']}</code>",
    ]


def _ranked(candidate: Record) -> list[str]:
    likelihood = f"{candidate['log_likelihood']:.2f}"
    return [escape(candidate["user"]), str(candidate["matched_bits"]), likelihood]


def _varied(row: Record) -> list[str]:
    p = "–" if row["p_value"] is None else power_of_ten(row["p_value"])
    said = escape(row["user"] or row["verdict"])
    return [
        row["method"],
        str(row["seed"]),
        said,
        escape(row["best"] or "–"),
        str(row["matched_bits"]),
        p,
        _residual(row),
    ]


def _residual(row: Record) -> str:
    return "–" if row["residual"] is None else f"{row['residual']:.3g}"


def _pictures(file: Record, explanation: Pixels | None) -> str:
    """The file, its explanation and their difference; what cannot be shown is left out."""
    try:
        size = None if explanation is None else explanation.shape[:2]
        pixels = read_image(Path(file["file"]), size=size, resize=True)
    except (UnreadableImage, OSError):
        return ""
    panels = {"file": picture(pixels, alt=file["file"])}
    if explanation is not None:
        panels["explanation"] = picture(explanation, alt=f"explanation of {file['file']}")
        residual = difference(pixels, explanation)
        panels["residual × 10"] = picture(residual, alt=f"residual of {file['file']}, times ten")
    return f"<div class='faces'><figure>{side_by_side(panels)}</figure></div>"


def _origin(record: Record) -> list[list[str]]:
    found = record["deployment"]
    rows = {
        "deployment": found["id"],
        "manifest.json": found["manifest"],
        "generator": found["generator"]["identity"],
        "decoder": found["decoder"],
        **found["parts"],
        "registered codes": found["codes"],
    }
    return [[escape(name), f"<code>{escape(it)}</code>"] for name, it in rows.items() if it is not None]
