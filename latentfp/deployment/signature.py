"""Signed records: JSON objects that whoever has the public key can check, by Ed25519 (RFC 8032).

What is signed is the object without its `signature`, as JSON with sorted keys and no spaces, in UTF-8; it
states the algorithm and the public key as its `signer`, so that nothing beside the signed bytes is believed.
Keys of small order, for which one signature fits any record, are refused. The private key is a PEM file of
mode 0600 (PKCS 8), the public one lies beside it, for everyone.
"""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

Record = dict[str, Any]
ALGORITHM = "Ed25519"
LARGEST = 4096  # bytes of a key's file
HEX = re.compile("[0-9a-f]{64}")
PRIME = 2**255 - 19  # of the field of edwards25519
D = -121665 * pow(121666, -1, PRIME) % PRIME  # of its equation


class BadSignature(ValueError):
    """A record that is not what was signed, or not signed by whom it should be; one line says which."""


def create(path: Path) -> Path:
    """A new private key in a new file of mode 0600; returns the public key's file, PATH.pub, also new.

    FileExistsError where there is one of them.
    """
    key, public = Ed25519PrivateKey.generate(), path.with_name(path.name + ".pub")
    if public.exists():
        raise FileExistsError(f"{public} exists: choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return public


def read_private(path: Path) -> Ed25519PrivateKey:
    """The private key in a file. ValueError where it is none, or others can read it."""
    with open(path, "rb") as file:
        mode, data = stat.S_IMODE(os.fstat(file.fileno()).st_mode), file.read(LARGEST)
    if mode & 0o077:
        raise ValueError(f"{path} has mode {mode:04o}, so others can sign with it: chmod 600 {path}")
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} is no private Ed25519 key in PEM: make one with `latentfp report key`")
    return key


def read_public(path: Path) -> str:
    """The public key in a file, 64 hexadecimal digits. ValueError where it is none."""
    with open(path, "rb") as file:
        data = file.read(LARGEST)
    try:
        key = load_pem_public_key(data)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(
            f"{path} is no public Ed25519 key in PEM: expected the .pub of `latentfp report key`"
        )
    return key.public_bytes_raw().hex()


def sign(record: Record, key: Ed25519PrivateKey) -> Record:
    """The record with its signature. ValueError for numbers that JSON has not (NaN, infinite ones)."""
    whole = {**record, "signer": _signer(key.public_key().public_bytes_raw().hex())}
    return {**whole, "signature": key.sign(_signed(whole)).hex()}


def verify(record: Record, *, public: str | None = None) -> str:
    """The public key that signed a record, which must be `public` where that is given.

    BadSignature where the record has no valid signature, or that of another key.
    """
    try:
        known = record["signer"]["public_key"]
        if record["signer"] != _signer(known) or not HEX.fullmatch(known):
            raise ValueError
        _refuse_small_order(bytes.fromhex(known))
        value = bytes.fromhex(record["signature"])
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(known)).verify(value, _signed(record))
    except InvalidSignature:
        raise BadSignature("the record is not what was signed") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise BadSignature(f"the record has no {ALGORITHM} signature") from None
    if public is not None and public != known:
        raise BadSignature(f"the record was signed with another key, not with {public}")
    return known


def _signer(public_key: str) -> Record:
    return {"algorithm": ALGORITHM, "public_key": public_key}


def _refuse_small_order(key: bytes) -> None:
    """ValueError for a point of order 1, 2, 4 or 8 of edwards25519, or one that is not written shortest.

    These are the points with x = 0, y = 0, or y² = (±√(1 + d) - 1) / d (RFC 8032, section 5.1): of order 8
    are those whose doubles have y = 0, that is x² = -y².
    """
    y = int.from_bytes(key, "little") & (1 << 255) - 1
    # On the curve, -x² + y² = 1 + d x² y²; x² = -y² turns it into d y⁴ + 2 y² - 1 = 0.
    of_order_eight = (D * pow(y, 4, PRIME) + 2 * y * y - 1) % PRIME == 0
    if y >= PRIME or y in (0, 1, PRIME - 1) or of_order_eight:
        raise ValueError("the key is weak")


def _signed(record: Record) -> bytes:
    rest = {name: value for name, value in record.items() if name != "signature"}
    plain = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return plain.encode("utf-8", "surrogatepass")
