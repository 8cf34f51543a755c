"""Signed records: JSON objects that whoever has the public key can check, by Ed25519 (RFC 8032).

What is signed is the object without its `signature`, as JSON with sorted keys and no spaces, in UTF-8. The
private key is a PEM file of mode 0600 (PKCS 8), the public one lies beside it, for everyone.
"""

import json
import os
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
    signature = {
        "algorithm": ALGORITHM,
        "public_key": key.public_key().public_bytes_raw().hex(),
        "value": key.sign(_signed(record)).hex(),
    }
    return {**record, "signature": signature}


def verify(record: Record, *, public: str | None = None) -> str:
    """The public key that signed a record, which must be `public` where that is given.

    BadSignature where the record has no valid signature, or that of another key.
    """
    try:
        signature = record["signature"]
        known, signed = str(signature["public_key"]), _signed(record)
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(known)).verify(
            bytes.fromhex(signature["value"]), signed
        )
    except InvalidSignature:
        raise BadSignature("the record is not what was signed") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise BadSignature(f"the record has no {ALGORITHM} signature") from None
    if public is not None and bytes.fromhex(public) != bytes.fromhex(known):
        raise BadSignature(f"the record was signed with another key, not with {public}")
    return bytes.fromhex(known).hex()


def _signed(record: Record) -> bytes:
    rest = {name: value for name, value in record.items() if name != "signature"}
    plain = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return plain.encode("utf-8", "surrogatepass")
