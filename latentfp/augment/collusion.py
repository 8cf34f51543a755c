"""Collusion: several users who hold copies of one generator make one image of theirs.

The colluders' images have the same content and differ by their codes alone, so where the codes agree nothing
betrays what was there. Source: the attacks against which Tardos codes are tested, as in Furon et al. 2012,
*Worst case attacks against binary probabilistic traitor tracing codes*, on pixels here.

    mean      of every value            median    of every value: the middle one, for an even number the mean
    mixed     every pixel from one of them, drawn at random                     of the middle two
    extremes  every value the least or the greatest, at random

Colluders who average weights or latents make the image of the mean code: `embed` with it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from latentfp.types import Image, Images, Key

Collusion = Callable[[Key, Images], Image]


def mean(key: Key, images: Images) -> Image:
    """The average of the colluders' images."""
    del key
    return images.mean(axis=0)


def median(key: Key, images: Images) -> Image:
    """The median of every value."""
    del key
    return jnp.median(images, axis=0)


def mixed(key: Key, images: Images) -> Image:
    """Every pixel from one of the images."""
    colluders, h, w, _ = images.shape
    chosen = jax.random.randint(key, (h, w), 0, colluders)
    return jnp.take_along_axis(images, chosen[None, :, :, None], axis=0)[0]


def extremes(key: Key, images: Images) -> Image:
    """Every value the least or the greatest of all."""
    _, *shape = images.shape
    return jnp.where(jax.random.bernoulli(key, 0.5, shape), images.min(axis=0), images.max(axis=0))


COLLUSIONS: dict[str, Collusion] = {"mean": mean, "median": median, "mixed": mixed, "extremes": extremes}
