"""The manifest of a deployment: what was made, with which versions, and the hashes of what never changes.

`manifest.json` holds one object; its `digest` is the SHA-256 of all other fields as JSON with sorted keys and
no spaces. Digests hold no secret: they find damage, mixed up files and careless edits, but whoever edits a
file on purpose can compute them anew.
"""

import datetime
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import latentfp
from latentfp.choices import Coding, Layout
from latentfp.deployment.codebook import CodeFacts, CodeKind
from latentfp.fingerprint.basis import Space
from latentfp.fingerprint.codes import check_length

FORMAT = 5
SCHEMA = {
    "format": int,
    "id": str,
    "created": str,
    "versions": {"jax": str, "latentfp": str, "numpy": str},
    "generator": {"name": str, "identity": str},
    "sigma": float,
    "shift": int,
    "bits": int,
    "coding": str,
    "min_distance": int,
    "repeats": int,
    "layout": str,
    "rotation": str,
    "axes": str,
    "codes": {"kind": str, "message": int, "polynomial": str},
    "parts": {"basis.safetensors": str},
    "digest": str,
}
SHA256, HEX = re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{1,64}")


class TamperedDeployment(ValueError):
    """A part of a deployment is not as it was written; its message is one line: file, fault, what to do.

    >>> from pathlib import Path
    >>> _ = Path("deployment/basis.safetensors").write_bytes(b"another")
    >>> try:
    ...     lf.open("deployment")
    ... except lf.TamperedDeployment as error:
    ...     print(error)
    deployment/basis.safetensors: found SHA-256 ..., expected ...; restore it from a copy or fit ...
    """

    def __init__(self, part: Path, fault: str):
        super().__init__(f"{part}: {' '.join(fault.split())}; restore it from a copy or fit a new deployment")


class GeneratorFacts(NamedTuple):
    """Which generator: the identity is the hash of its contents; the name, or path, says where it lay."""

    name: str
    identity: str


class Manifest(NamedTuple):
    """The facts of a deployment. `id` is random, `created` is UTC, `parts` maps file names to SHA-256.

    `rotation`: the check of the secret that turns the code's axes, or empty (secret.py); `axes`: the hash of
    the axes that result (`axes_hash`).
    """

    id: str
    created: str
    versions: dict[str, str]
    generator: GeneratorFacts
    sigma: float
    shift: int
    bits: int
    coding: Coding
    min_distance: int
    repeats: int
    layout: Layout
    rotation: str
    axes: str
    codes: CodeFacts
    parts: dict[str, str]


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Of what this process computes with."""
    return {"jax": jax.__version__, "latentfp": latentfp.__version__, "numpy": np.__version__}


def sha256(data: bytes) -> str:
    """The hash as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def axes_hash(space: Space) -> str:
    """The SHA-256 of the code's axes, rounded to multiples of 2^-12, little-endian.

    Machines differ in the last digits of a rotation and of a product: that crosses a rounding about once in
    10^5 deployments. Another rotation changes nearly every number.
    """
    rounded = np.round(np.asarray(space.code_axes, np.float64) * 2**12)
    return sha256(rounded.astype("<i4").tobytes())


def to_json(manifest: Manifest) -> bytes:
    """The contents of `manifest.json`."""
    records = {"generator": manifest.generator._asdict(), "codes": manifest.codes._asdict()}
    fields = {"format": FORMAT, **manifest._asdict(), **records}
    return json.dumps({**fields, "digest": _digest(fields)}, indent=2).encode()


def read_manifest(path: Path) -> Manifest:
    """Read and verify `manifest.json`. TamperedDeployment when it is not as `to_json` writes it."""
    try:
        fields = json.loads(path.read_bytes())
        _check_fields(fields)
        manifest = _from_fields(fields)
        check_values(manifest)
    except (ValueError, RecursionError) as error:
        raise TamperedDeployment(path, str(error)) from error
    return manifest


def _digest(fields: dict[str, Any]) -> str:
    return sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())


def _from_fields(fields: dict[str, Any]) -> Manifest:
    parsed = {
        "generator": GeneratorFacts(**fields["generator"]),
        "coding": Coding(fields["coding"]),
        "layout": Layout(fields["layout"]),
        "codes": CodeFacts(**{**fields["codes"], "kind": CodeKind(fields["codes"]["kind"])}),
    }
    return Manifest(**{name: fields[name] for name in Manifest._fields} | parsed)


def _check_fields(fields: Any) -> None:
    version: Any = fields.get("format") if isinstance(fields, dict) else None
    if version != FORMAT:
        raise ValueError(f"found format {version!r}, latentfp {latentfp.__version__} reads {FORMAT}")
    _check_schema(fields, SCHEMA, "manifest")
    digest = _digest({name: value for name, value in fields.items() if name != "digest"})
    if fields["digest"] != digest:
        raise ValueError(f"found contents with digest {digest}, expected {fields['digest']}, as they state")


def _check_schema(value: Any, schema: Any, name: str) -> None:
    if isinstance(schema, type):
        if type(value) is not schema:
            raise ValueError(f"found {name} = {value!r}, expected {schema.__name__}")
        return
    if not isinstance(value, dict) or value.keys() != schema.keys():
        found = sorted(value) if isinstance(value, dict) else value
        raise ValueError(f"found {name} = {found!r}, expected the fields {sorted(schema)}")
    for key, part in schema.items():
        _check_schema(value[key], part, f"{name}.{key}")


def check_values(manifest: Manifest) -> None:
    """ValueError, with what was expected, for values out of range."""
    facts = manifest.generator
    hashes = (facts.identity, *manifest.parts.values(), manifest.rotation or facts.identity, manifest.axes)
    check_strength(manifest.sigma)
    check_length(bits=manifest.bits, repeats=manifest.repeats)
    check_distance(manifest.min_distance, bits=manifest.bits)
    rules = [
        (manifest.shift >= 0, f"shift {manifest.shift}", "0 or more"),
        (
            manifest.codes.kind is not CodeKind.BCH or _is_algebraic(manifest),
            f"codes {manifest.codes}",
            "a secret, a message shorter than the code and a hexadecimal polynomial",
        ),
        (facts.name != "", "a generator without a name", "a name or path that loads it"),
        (all(map(SHA256.fullmatch, hashes)), f"hashes {hashes}", "64 hexadecimal digits each"),
    ]
    for holds, got, expected in rules:
        if not holds:
            raise ValueError(f"got {got}, expected {expected}")


def check_strength(sigma: float) -> None:
    """ValueError where a mark cannot have this strength."""
    if not 0 < sigma < math.inf:
        raise ValueError(f"got sigma {sigma}, expected a positive finite number")


def check_distance(distance: int, *, bits: int) -> None:
    """ValueError where codes cannot be so far apart."""
    if not 1 <= distance <= bits:
        raise ValueError(f"got min_distance {distance}, expected 1 … {bits}, the most by which codes differ")


def _is_algebraic(manifest: Manifest) -> bool:
    facts, bits = manifest.codes, manifest.bits // manifest.repeats
    return manifest.rotation != "" and 1 < facts.message < bits and bool(HEX.fullmatch(facts.polynomial))
