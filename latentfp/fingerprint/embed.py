"""Writing a code into a latent, and nothing else of it.

A bit b in {0, 1} becomes a level, b - offset, along its axis of V, with one strength sigma (in the latent's
units) for all:

    compose   w = mu + U^T alpha + sigma V^T level           content alpha ~ N(0, s²), as in the public code
    embed     w = w0 - V^T V (w0 - mu) + sigma V^T level     a true sample w0 of the prior keeps its content

Binary coding (offset 0) is the paper's. Antipodal coding (offset 1/2) keeps two codes exactly as far apart at
half the mean energy of a mark, and lets an unmarked latent decode to undecided bits. Functions take one
example; batch with `jax.vmap`.
Source: Nie et al. 2023, section 3.1; docs/concepts.md.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from latentfp.choices import Coding
from latentfp.fingerprint.basis import Space, coordinates
from latentfp.types import Content, Latent

Bits = Bool[Array, " k"] | Bool[np.ndarray, " k"]
Levels = Float[Array, " k"]
Strength = float | Float[Array, ""]


def levels(code: Bits, coding: Coding) -> Levels:
    """The levels of a code: bit - offset."""
    return jnp.asarray(code, jnp.float32) - coding.offset


def mark(space: Space, level: Levels, *, sigma: Strength) -> Latent:
    """sigma V^T level: what a code adds to a latent."""
    return sigma * (level @ space.code_axes)


def compose(space: Space, alpha: Content, level: Levels, *, sigma: Strength) -> Latent:
    """The latent of content `alpha` that bears `level`: mu + U^T alpha + sigma V^T level."""
    return space.mean + alpha @ space.content_axes + mark(space, level, sigma=sigma)


def embed(space: Space, w0: Latent, code: Bits, *, sigma: Strength, coding: Coding) -> Latent:
    """The true sample `w0` with the code in place of its own coordinates along V."""
    return embed_levels(space, w0, levels(code, coding), sigma=sigma)


def embed_levels(space: Space, w0: Latent, level: Levels, *, sigma: Strength) -> Latent:
    """The true sample `w0` with these levels, which may lie between those of bits, along V."""
    own = coordinates(space, w0) @ space.code_axes
    return w0 - own + mark(space, level, sigma=sigma)
