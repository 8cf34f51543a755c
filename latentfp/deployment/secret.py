"""A provider's secret: a file of its own, from which the axes of a deployment's code are turned.

Whoever has the generator can compute its principal axes. With a secret the bits do not lie along them but
along a rotation of the code's axes that follows from the secret and the deployment's identity, so that the
generator does not tell which direction is which bit. A deployment keeps a check of the secret, never the
secret; the file is readable by its owner alone.

The rotation must be the same for as long as a deployment is used, so it hangs on no library's random
numbers. A key of 32 bytes gives 64-bit words w_0, w_1, …, the little-endian output of SHAKE-256 (FIPS 202),
and these the numbers u_i = (⌊w_i / 2^12⌋ + 1/2) / 2^52, which float64 holds exactly. Each pair gives two
normal numbers (Box and Muller 1958),

    √(-2 ln u_2j) cos(2π u_2j+1)  and  √(-2 ln u_2j) sin(2π u_2j+1),

which fill a matrix [k k] row by row; of its QR decomposition with a positive diagonal of R, which is unique,
Q is the rotation, even over all of them (Haar). Source: Mezzadri 2007 (arXiv math-ph/0609050).
"""

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from latentfp.fingerprint.basis import Space

VARIABLE = "LATENTFP_SECRET"  # names the file where no option does
BYTES = 32
HEXADECIMAL = 2 * BYTES


class Secret:
    """32 bytes that neither print nor compare."""

    def __init__(self, value: bytes):
        self._value = value

    def derive(self, purpose: str, identity: str) -> bytes:
        """32 bytes for one purpose and one deployment, from which the secret does not follow."""
        return hmac.digest(self._value, f"latentfp/{purpose}/{identity}".encode(), hashlib.sha256)


def create(path: Path) -> Secret:
    """A new secret in a new file of mode 0600. FileExistsError where there is one."""
    value = secrets.token_bytes(BYTES)
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(value.hex() + "\n")
    return Secret(value)


def read(path: Path | None = None) -> Secret:
    """The secret in a file, of which the name may come from the environment variable LATENTFP_SECRET.

    ValueError where no file is named, it is no secret, or others can read it.
    """
    named = os.environ.get(VARIABLE) if path is None else str(path)
    if not named:
        raise ValueError(f"this deployment needs its secret: set {VARIABLE} to the name of the secret's file")
    with open(named, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        text = file.read(HEXADECIMAL + 2).strip()
    if mode & 0o077:
        raise ValueError(f"{named} has mode {mode:04o}, so others can read the secret: chmod 600 {named}")
    try:
        value = bytes.fromhex(text.decode())
    except ValueError:
        value = b""
    if len(value) != BYTES:
        raise ValueError(f"{named} is no secret: expected {HEXADECIMAL} hexadecimal digits")
    return Secret(value)


def check(secret: Secret, identity: str) -> str:
    """What a deployment keeps to know its secret again: 64 hexadecimal digits."""
    return secret.derive("check", identity).hex()


def rotation(key: bytes, k: int) -> Float[np.ndarray, "k k"]:
    """The rotation of a key, as this module's text defines it, to about 13 digits on every machine."""
    words = np.frombuffer(hashlib.shake_256(key).digest(16 * -(-k * k // 2)), "<u8")
    u, v = (((words >> np.uint64(12)) + 0.5) / 2**52).reshape(-1, 2).T
    pairs = np.sqrt(-2 * np.log(u)) * np.array([np.cos(2 * np.pi * v), np.sin(2 * np.pi * v)])
    q, r = np.linalg.qr(pairs.T.ravel()[: k * k].reshape(k, k))
    return q * np.sign(np.diag(r))


def turned(space: Space, secret: Secret, identity: str) -> Space:
    """The space with the code's axes turned by the `rotation` of this deployment."""
    turn = rotation(secret.derive("rotation", identity), space.code_axes.shape[0])
    stds = np.sqrt(np.square(turn) @ np.square(np.asarray(space.code_stds, np.float64)))
    axes = turn @ np.asarray(space.code_axes, np.float64)
    return space._replace(code_axes=jnp.asarray(axes, jnp.float32), code_stds=jnp.asarray(stds, jnp.float32))
