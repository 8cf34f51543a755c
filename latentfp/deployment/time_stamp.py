"""Time stamps (RFC 3161): when a file existed at the latest, by an authority that others trust.

The file of `latentfp audit head` is stamped with any client, such as `openssl ts`; its answer is read here by
rfc3161-client, which is installed by latentfp[time-stamps].
"""

import datetime
from pathlib import Path


class BadTimeStamp(ValueError):
    """An answer of an authority that proves nothing about a file."""


def verify(file: Path, answer: Path, authority: Path) -> datetime.datetime:
    """When a file was stamped, UTC, as an authority's `answer` (DER) says, for which a root certificate (PEM)
    vouches.

    BadTimeStamp where the answer is damaged, of another file, or of somebody else. ValueError where the
    package is not installed.
    """
    try:
        from cryptography.x509 import load_pem_x509_certificate
        from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response
    except ImportError as error:
        raise ValueError("time stamps need another package: pip install latentfp[time-stamps]") from error
    try:
        found = decode_timestamp_response(answer.read_bytes())
        root = load_pem_x509_certificate(authority.read_bytes())
        VerifierBuilder().add_root_certificate(root).build().verify_message(found, file.read_bytes())
    except VerificationError as error:
        raise BadTimeStamp(f"{answer} does not prove when {file} existed: {error}") from error
    except ValueError as error:
        raise BadTimeStamp(f"{answer} or {authority} is damaged: {error!s:.200}") from error
    return found.tst_info.gen_time
