"""Random erasing: a black rectangle of h' × w' whole pixels anywhere in the image.

    h' = round(√(area · aspect · h w)),    w' = round(√(area / aspect · h w))

Each is at least 1 and at most the side. All places inside the image have equal chances. Source: Zhong et al.
2020, *Random Erasing Data Augmentation*, as in torchvision and kornia.
"""

import jax
import jax.numpy as jnp

from latentfp.types import Count, Image, Key, Scalar


def random_erase(key: Key, image: Image, *, area: float | Scalar, aspect: float | Scalar) -> Image:
    """Black out (-1) a share `area`, in (0, 1], of the pixels; `aspect` > 0 is height / width.

    Differentiable by the image; by `area` and `aspect` it is piecewise constant, since the pixels are whole.
    """
    if isinstance(area, float | int) and not 0 < area <= 1:
        raise ValueError(f"area {area}: expected a share of the image, above 0 and at most 1")
    if isinstance(aspect, float | int) and aspect <= 0:
        raise ValueError(f"aspect {aspect}: expected a positive ratio of height to width")
    h, w, _ = image.shape
    height = _whole(jnp.sqrt(jnp.float32(area) * aspect * (h * w)), h)
    width = _whole(jnp.sqrt(jnp.float32(area) / aspect * (h * w)), w)
    top, left = jax.random.randint(key, (2,), 0, jnp.stack([h - height, w - width]) + 1)
    row, column = jnp.arange(h)[:, None, None], jnp.arange(w)[None, :, None]
    erased = (row >= top) & (row < top + height) & (column >= left) & (column < left + width)
    return jnp.where(erased, -1.0, image)


def _whole(length: Scalar, side: int) -> Count:
    return jnp.clip(jnp.round(length).astype(int), 1, side)
