"""A generator of one's own: a pair of a `Generator` and its parameters, checked and identified.

On the command line it is `package.module:make`: a function without arguments that gives the pair. It is
imported from the current folder or Python's path, and only where a user writes it: a name that a file holds
is never imported.

Its identity is the SHA-256 of

    {"channels", "image_shape", "latent_dim", "parameters", "probe"}

as JSON with sorted keys and no spaces. `parameters` is the SHA-256 of the leaves of the parameter tree in the
order of their paths: each as the line `path dtype shape` (such as `dense/kernel <f4 3,64`) and its
little-endian bytes. `probe` says what the functions make of them: 16 integers

    round(64 · Σ_i s_ji x_i / √n),    j = 0 … 15,

where x are the n numbers of two images, limited to [-1, 1], and s_ji = ±1. Latents and signs come from the
raw 64-bit words of Philox with key 0, which NumPy promises to keep: the first 2 d words v make the two
latents, √12 (v / 2^64 - 1/2), of unit variance; the bits of the next words, low bits first, are the signs
(1 is +1), each row from a new word on. Machines round float32 differently by about 1e-5. So where a number
lies within 1/32 of an edge of its rounding, either side is accepted; other images are noticed once their
pixels differ by about 0.02.
"""

import functools
import hashlib
import importlib
import inspect
import itertools
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from latentfp.generators.generator import Generator
from latentfp.types import Params, by_path

PROBES, NUMBERS, STEPS, EDGE = 2, 16, 64, 1 / 32


def is_entry(name: str) -> bool:
    """Whether this is written like `package.module:make`."""
    module, _, function = name.partition(":")
    return function.isidentifier() and all(part.isidentifier() for part in module.split("."))


@functools.cache
def imported(entry: str) -> tuple[Generator, Params]:
    """What the function `package.module:make` gives. ValueError that says what is wrong with it."""
    module, _, function = entry.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        make = getattr(importlib.import_module(module), function, None)
    except ImportError as error:
        raise ValueError(
            f"{entry} cannot be imported ({error}): run from the folder that holds "
            f"{module.split('.')[0]}, or install it"
        ) from error
    finally:
        sys.path.pop(0)
    if not callable(make):
        raise ValueError(f"{entry}: found no function {function} in {module}")
    try:
        inspect.signature(make).bind()
    except TypeError as error:
        raise ValueError(f"{entry} needs arguments ({error}), expected a function without any") from error
    return pair_of(make(), f"{entry}()")


def pair_of(value: Any, origin: str) -> tuple[Generator, Params]:
    """The pair, if `value` is one. ValueError."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Generator):
        return value
    found = f"a tuple of {len(value)}" if isinstance(value, tuple) else f"a {type(value).__name__}"
    raise ValueError(f"{origin} gives {found}, expected the pair (latentfp.Generator, its parameters)")


def identity(generator: Generator, params: Params, *, expected: str | None = None) -> str:
    """Of this pair, after two renders.

    `expected`: the identity that it should have; it is given back where only the rounding of this machine
    keeps the images from it. ValueError where sizes or functions are not as `Generator` says.
    """
    sizes = {name: getattr(generator, name) for name in ("channels", "image_shape", "latent_dim")}
    facts = {**sizes, "parameters": _digest(params)}
    found = [digest({**facts, "probe": numbers}) for numbers in _rounded(_probe(generator, params))]
    return expected if expected in found else found[0]


def digest(fields: Mapping[str, Any]) -> str:
    """The SHA-256 of an object as JSON with sorted keys and no spaces."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _digest(params: Params) -> str:
    found = hashlib.sha256()
    for path, leaf in sorted(by_path(params).items()):
        array = np.asarray(leaf)
        if array.dtype.kind not in "biufV":
            raise ValueError(f"the parameter {path!r} is {array.dtype}, expected numbers")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        found.update(f"{path} {array.dtype.str} {','.join(map(str, array.shape))}\n".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def _probe(generator: Generator, params: Params) -> Float[np.ndarray, " numbers"]:
    d, n = generator.latent_dim, PROBES * math.prod(generator.image_shape)
    draw = np.random.Philox(key=0)
    words = draw.random_raw(PROBES * d).reshape(PROBES, d)
    latents = jnp.asarray(math.sqrt(12) * (words / 2.0**64 - 0.5), jnp.float32)
    images = np.clip(_images(generator, params, latents).astype(np.float64).ravel(), -1, 1)
    rows = (draw.random_raw(-(-n // 64)).astype("<u8").view(np.uint8) for _ in range(NUMBERS))
    bits = (np.unpackbits(row, bitorder="little")[:n] for row in rows)
    return np.array([images @ (2.0 * row - 1.0) for row in bits]) * (STEPS / math.sqrt(n))


def _images(generator: Generator, params: Params, latents: jax.Array) -> np.ndarray:
    """Rendered twice. ValueError where they are not images, or not the same."""
    expected = (len(latents), *generator.image_shape)
    try:
        with jax.default_matmul_precision("highest"):
            render = jax.jit(generator.synthesize)
            images, again = (np.asarray(render(params, latents)) for _ in range(2))
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        first = str(error).partition("\n")[0]
        raise ValueError(f"{generator.name}: synthesize cannot be compiled by JAX: {first}") from error
    if images.shape != expected or images.dtype.kind != "f":
        raise ValueError(
            f"{generator.name}: synthesize gives {images.dtype} {images.shape} for latents {latents.shape}, "
            f"expected float32 {expected}"
        )
    if not np.isfinite(images).all():
        raise ValueError(f"{generator.name}: synthesize gives NaN or infinite pixels for normal latents")
    if (images != again).any():
        raise ValueError(
            f"{generator.name}: synthesize gives other images when asked again: "
            "whatever is random must be fixed in the parameters"
        )
    return images


def _rounded(numbers: Float[np.ndarray, " numbers"]) -> Iterator[tuple[int, ...]]:
    """The numbers as integers, the nearest first, then with those at an edge on its other side."""
    nearest = np.round(numbers)
    edge = np.abs(np.abs(numbers - nearest) - 0.5) <= EDGE
    other = nearest + np.where(edge, np.sign(numbers - nearest), 0)
    choices = [[int(a)] if a == b else [int(a), int(b)] for a, b in zip(nearest, other, strict=True)]
    return itertools.product(*choices)
