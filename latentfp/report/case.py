"""The page of a case, and its signed record beside it.

PAGE.html is for people: it needs nothing else and runs nothing. PAGE.json is the record (deployment/case.py)
with the hash of the page, signed. `check_case` finds what was changed since.
"""

import json
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from latentfp.data.files import UnreadableImage, file_hash, read_image
from latentfp.deployment.case import Case
from latentfp.deployment.manifest import sha256
from latentfp.deployment.signature import BadSignature, sign, verify
from latentfp.report.html import badge, difference, filled, picture, side_by_side, strip, table, terms
from latentfp.report.wording import count, power_of_ten
from latentfp.runtime.files import replacing
from latentfp.types import Pixels

LARGEST = 1 << 30  # bytes of a record
FACTS = (
    "residual",
    "chance that one of the generator's fits so badly",
    "chance that the file's own code reads so badly",
    "inferred damage",
    "SHA-256",
)
RANKED = ("ranked user", "bits", "ln likelihood")
VARIED = ("method", "seed", "verdict", "best user", "bits", "p", "residual")
SIGNS = {"user": ("right", "✓"), "none": ("missed", "○"), "inconclusive": ("missed", "?")}


class Checked(NamedTuple):
    """A record whose signature holds: by which key, how many files have a hash, and those changed or gone."""

    public_key: str
    files: int
    changed: list[str]
    missing: list[str]


def write_case(page: Path, case: Case, key: Ed25519PrivateKey) -> Path:
    """Write the page and, with the suffix .json, its record; returns the record's path.

    ValueError for a page whose own suffix is .json.
    """
    record_path = record_of(page)
    text = render(case, record_path.name).encode("utf-8", "backslashreplace")
    whole = {**case.record, "page": {"name": page.name, "sha256": sha256(text)}}
    record = json.dumps(sign(whole, key), indent=1)
    page.parent.mkdir(parents=True, exist_ok=True)
    for path, data in ((page, text), (record_path, record.encode() + b"\n")):
        with replacing(path) as fresh:
            fresh.write_bytes(data)
    return record_path


def record_of(page: Path) -> Path:
    """Where the record of a page lies. ValueError for a page that would lie there itself."""
    if page.suffix == ".json":
        raise ValueError(f"{page} is where the record would lie: name the page, such as case.html")
    return page.with_suffix(".json")


def check_case(path: Path, *, public: str | None = None) -> Checked:
    """Check a record, its page beside it, and the files that it names, where they are still there.

    BadSignature where record or page are not what was signed, or with another key than `public`.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("it is too large")
        record = json.loads(path.read_bytes(), object_pairs_hook=_unique)
        key = verify(record, public=public)
        page, signed = path.parent / Path(record["page"]["name"]).name, record["page"]["sha256"]
        named = {str(it["file"]): it["sha256"] for it in record["files"] if it["sha256"] is not None}
    except BadSignature:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadSignature(f"{path} is no record of a case: {type(error).__name__}, {error}") from None
    if file_hash(page) != signed:
        raise BadSignature(f"the page {page} is missing or not the one that was signed")
    found = {file: file_hash(file) if Path(file).is_file() else None for file in named}
    missing = [file for file, known in found.items() if known is None]
    changed = [file for file, known in found.items() if known not in (None, named[file])]
    return Checked(key, len(named), changed, missing)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no name comes twice: programs differ in which one they take."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a name occurs twice in one object")
    return dict(pairs)


def render(case: Case, record_name: str) -> str:
    """The page as text."""
    record, files = case.record, case.record["files"]
    about, deployment = record["case"], record["deployment"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    settings = {
        "generator": escape(deployment["generator"]["name"]),
        "users searched": str(deployment["users"]),
        "code": f"{deployment['bits']} bits, {escape(deployment['code_book']['kind'])}",
        "method": escape(about["request"]["method"]),
        "limit for a name": f"p ≤ {power_of_ten(about['request']['alpha'])}",
        "seed": str(about["request"]["seed"]),
    }
    shown = zip(files, case.explanations, strict=True)
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


def _headline(files: list[dict[str, Any]]) -> str:
    words = {"user": "attributed to a user", "none": "to none", "inconclusive": "inconclusive"}
    counts = {word: sum(it["verdict"] == kind for it in files) for kind, word in words.items()}
    unread = len(files) - sum(counts.values())
    parts = [f"{number} {word}" for word, number in counts.items() if number]
    return escape(
        f"{count(len(files), 'file')}: {', '.join(parts + ([f'{unread} not readable'] * (unread > 0)))}"
    )


def _file(file: dict[str, Any], explanation: Pixels | None) -> str:
    name = f"<h3>{escape(file['file'])}</h3>"
    if file["verdict"] == "unreadable":
        return f"{name}<p>{badge('unreadable', '!', 'not readable')} {escape(file['status'])}</p>"
    p = power_of_ten(file["p_value"])
    evidence = f"p = {p}, {file['matched_bits']} of {file['bits']} bits, by {file['stage']}"
    parts = [
        f"{name}<p>{badge(*SIGNS[file['verdict']], file['user'] or file['verdict'])} {evidence}</p>",
        _pictures(file, explanation),
        strip(file["posteriors"], None, label=f"P(bit = 1) of the bits of {file['file']}"),
        table(FACTS, [_facts(file)]),
        table(RANKED, map(_ranked, file["ranked"])),
        table(VARIED, map(_varied, file["sensitivity"])),
    ]
    return "".join(parts)


def _facts(file: dict[str, Any]) -> list[str]:
    damage = ", ".join(f"{name} {strength:g}" for name, strength in (file["damage"] or {}).items())
    miss = "–" if file["miss_p_value"] is None else power_of_ten(file["miss_p_value"])
    membership = "not tested" if file["membership"] is None else power_of_ten(file["membership"])
    return [
        _residual(file),
        membership,
        miss,
        escape(damage) or "none",
        f"<code>{file['sha256']}</code>",
    ]


def _ranked(candidate: dict[str, Any]) -> list[str]:
    likelihood = f"{candidate['log_likelihood']:.2f}"
    return [escape(candidate["user"]), str(candidate["matched_bits"]), likelihood]


def _varied(row: dict[str, Any]) -> list[str]:
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


def _residual(row: dict[str, Any]) -> str:
    return "–" if row["residual"] is None else f"{row['residual']:.3g}"


def _pictures(file: dict[str, Any], explanation: Pixels | None) -> str:
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


def _origin(record: dict[str, Any]) -> list[list[str]]:
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
