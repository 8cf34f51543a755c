"""Where and how strongly the codes of a generator are written, if nobody says.

A shipped generator has a `design.json` that a sweep over strength and first axis chose. Other generators get
64 bits on their last axes, and must be told the strength: it depends on the latent's units.
"""

import json
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
