"""Where and how strongly the codes of a generator are written.

A shipped generator has a `design.json` that a sweep over strength and first axis chose. Other generators get
64 bits on their last axes, and must be told the strength: it depends on the latent's units. A file of
`latentfp design` names the axes, which need not follow each other.
"""

import json
from pathlib import Path
from typing import NamedTuple

from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained

FILE = "design.json"
BITS = 64


class Design(NamedTuple):
    """`sigma` in the latent's units; `bits` axes from number `shift` on."""

    sigma: float
    shift: int
    bits: int


class Chosen(NamedTuple):
    """What a file of `latentfp design` says: the numbers of the code's axes, and the strength."""

    axes: tuple[int, ...]
    sigma: float


def read_chosen(path: Path, *, generator: str) -> Chosen:
    """The design in a file. ValueError where it is none, or one for another generator."""
    try:
        found = json.loads(path.read_text())
        made_for, axes, sigma = found["generator"], found["axes"], float(found["sigma"])
        chosen = Chosen(tuple(int(axis) for axis in axes), sigma)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a file of `latentfp design`: {error!r}") from None
    if made_for != generator:
        raise ValueError(f"{path} is a design for {made_for}, not for {generator}")
    return chosen


def complete(loaded: Pretrained, *, sigma: float | None, shift: int | None, bits: int | None) -> Design:
    """The design with what is given, and the generator's usual values for what is None.

    ValueError where the strength is neither given nor usual.
    """
    usual = _usual(loaded)
    strength = usual.get("sigma") if sigma is None else sigma
    if strength is None:
        raise ValueError(f"no strength is usual for {loaded.name}: give one with --sigma")
    length = int(usual.get("bits", BITS)) if bits is None else bits
    last = loaded.generator.latent_dim - length
    return Design(float(strength), int(usual.get("shift", last)) if shift is None else shift, length)


def _usual(loaded: Pretrained) -> dict[str, float]:
    path = pretrained.SHIPPED / loaded.name / FILE
    return json.loads(path.read_text()) if loaded.name in pretrained.shipped() and path.is_file() else {}
