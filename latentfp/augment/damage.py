"""What may have happened to an image, as numbers: one differentiable family of post-processes.

    x → warp (crop, rotation) → blur → brightness → contrast → noise → JPEG → 8 bits

A decoder is trained on random members of the family; a search models the one that it assumes. All parts are
absent at the strength of `NONE`. Those of `distort` are continuous in their strengths, but for the black that
a turned window sees; JPEG is not: its tables are whole numbers, and quality 100 stands for no JPEG at all.

`coordinates` puts damages on scales of about 1, with 0 for none: what a decoder estimates.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from latentfp import rng
from latentfp.augment.blur import gaussian_blur
from latentfp.augment.codecs import jpeg
from latentfp.augment.colour import brightness, contrast
from latentfp.augment.geometry import warp
from latentfp.augment.noise import gaussian_noise
from latentfp.pixels import round_to_8bit
from latentfp.types import Image, Key, Scalar

Strength = Float[Array, ""]
SHARPEST = 0.05  # pixels: a blur whose other taps are 0 in float32, so that every pixel stays as it is


class Damage(NamedTuple):
    """Strengths of all parts. Shift is down and right, in sides; noise in units of the range [-1, 1]."""

    degrees: Strength | float = 0.0
    scale: Strength | float = 1.0
    down: Strength | float = 0.0
    right: Strength | float = 0.0
    blur: Strength | float = 0.0  # pixels
    brightness: Strength | float = 1.0
    contrast: Strength | float = 1.0
    noise: Strength | float = 0.0
    quality: Strength | float = 100.0


NONE = Damage()
SIZE = len(NONE)  # coordinates of a damage

# Parts as an attacker chooses them, and the strengths that belong to each.
PARTS = (
    ("scale", "down", "right"),
    ("degrees",),
    ("blur",),
    ("brightness",),
    ("contrast",),
    ("noise",),
    ("quality",),
)


def distort(image: Image, damage: Damage) -> Image:
    """The smooth and deterministic parts: warp, blur, brightness, contrast. Limited to [-1, 1]."""
    moved = warp(
        jnp.clip(image, -1, 1),
        degrees=damage.degrees,
        scale=damage.scale,
        shift=(damage.down, damage.right),
    )
    blurred = gaussian_blur(moved, sigma=jnp.maximum(damage.blur, SHARPEST), kernel_size=25)
    return contrast(brightness(blurred, factor=damage.brightness), factor=damage.contrast)


def degrade(key: Key, image: Image, damage: Damage) -> Image:
    """The parts that destroy: noise, JPEG, rounding to 8 bits (with a straight-through gradient)."""
    noisy = round_to_8bit(gaussian_noise(key, image, std=damage.noise))
    compressed = jpeg(noisy, quality=jnp.clip(damage.quality, 1, 100))
    return jnp.where(jnp.asarray(damage.quality) < 100, compressed, noisy)


def inflict(key: Key, image: Image, damage: Damage) -> Image:
    """The image after the whole chain, as its file would hold it."""
    return degrade(key, distort(image, damage), damage)


def coordinates(damage: Damage) -> Float[Array, "m ..."]:
    """A damage on scales of about 1, 0 for none."""
    return jnp.stack(
        [
            jnp.asarray(damage.degrees) / 10,
            4 * (1 - jnp.asarray(damage.scale)),
            8 * jnp.asarray(damage.down),
            8 * jnp.asarray(damage.right),
            jnp.asarray(damage.blur),
            2 * jnp.log2(jnp.asarray(damage.brightness)),
            2 * jnp.log2(jnp.asarray(damage.contrast)),
            10 * jnp.asarray(damage.noise),
            (100 - jnp.asarray(damage.quality)) / 25,
        ]
    )


def from_coordinates(values: Float[Any, "m ..."]) -> Damage:
    """The damage at these coordinates; strengths that do not exist are replaced by the nearest that do.

    Those of NumPy's arrays are NumPy's.
    """
    xp = np if isinstance(values, np.ndarray) else jnp
    degrees, shrink, down, right, blur, bright, contrasted, noise, loss = values
    return Damage(
        degrees=10 * degrees,
        scale=xp.maximum(1 - shrink / 4, 0.05),
        down=down / 8,
        right=right / 8,
        blur=xp.maximum(blur, 0),
        brightness=2 ** (bright / 2),
        contrast=2 ** (contrasted / 2),
        noise=xp.maximum(noise / 10, 0),
        quality=xp.clip(100 - 25 * loss, 1, 100),
    )


def draw(key: Key, *, clean: float | Scalar, mixed: float | Scalar) -> Damage:
    """A random damage: none with chance `clean`, a mixture with chance `mixed`, otherwise one part alone.

    In a mixture every part is present with chance 1/2; one mixture in 128 is empty. Strengths: crop to
    0.5 … 1 of each side, in the centre half of the time, else anywhere; rotation up to 30 degrees; blur
    0.3 … 3 pixels, brightness and contrast 1/2 … 2 and noise 0.02 … 0.4 of the range [-1, 1], all uniform in
    their logarithms; JPEG quality 10 … 95, fractions too. The chances may be traced.
    """
    strongest = _draw_all(key)
    kind = jax.random.uniform(rng.stream(key, "kind"))
    alone = jax.random.randint(rng.stream(key, "part"), (), 0, len(PARTS))
    together = jax.random.bernoulli(rng.stream(key, "parts"), 0.5, (len(PARTS),))
    present = jnp.where(kind < clean + mixed, together, jnp.arange(len(PARTS)) == alone) & (kind >= clean)
    return _keep(strongest, present)


def _keep(damage: Damage, present: Bool[Array, " p"]) -> Damage:
    owner = {name: part for part, names in enumerate(PARTS) for name in names}
    kept = {
        name: jnp.where(present[owner[name]], value, getattr(NONE, name))
        for name, value in damage._asdict().items()
    }
    return Damage(**kept)


def _draw_all(key: Key) -> Damage:
    def between(name: str, low: float, high: float) -> Scalar:
        return jax.random.uniform(rng.stream(key, name), minval=low, maxval=high)

    scale = between("scale", 0.5, 1.0)
    room = jnp.where(jax.random.bernoulli(rng.stream(key, "centre")), 0.0, (1 - scale) / 2)
    return Damage(
        degrees=between("degrees", -30.0, 30.0),
        scale=scale,
        down=room * between("down", -1.0, 1.0),
        right=room * between("right", -1.0, 1.0),
        blur=jnp.exp(between("blur", math.log(0.3), math.log(3.0))),
        brightness=2 ** between("brightness", -1.0, 1.0),
        contrast=2 ** between("contrast", -1.0, 1.0),
        noise=jnp.exp(between("noise", math.log(0.02), math.log(0.4))),
        quality=between("quality", 10.0, 95.0),
    )
