"""Things drawn over the image: a line of text, a frame, strokes of a brush, a black rectangle.

    y = (1 - a) x + a c,    a the opacity in [0, 1] and c the colour at every pixel

`framed` also shrinks the image, by a triangle filter.

Differentiable by the image. Text is rendered on the host by Pillow's own font; strokes are broken lines whose
ends wander at random, one colour each. Random erasing blacks out h' × w' whole pixels anywhere in the image,

    h' = round(√(area · aspect · h w)),    w' = round(√(area / aspect · h w))

each at least 1 and at most the side; all places inside the image have equal chances. Source: Zhong et al.
2020, *Random Erasing Data Augmentation*, as in torchvision and kornia.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from latentfp import rng
from latentfp.types import Count, Image, Key, Scalar

Opacity = Float[Array, "h w"]


def overlay(image: Image, *, colour: Float[Array, " 3"], opacity: Opacity) -> Image:
    """`colour`, in [-1, 1], over the image; keeps the range of values."""
    cover = opacity[..., None]
    return (1 - cover) * image + cover * colour[None, None]


def border(key: Key, image: Image, *, width: float | Scalar) -> Image:
    """A frame of one random colour over the image, each side `width` of the image's wide."""
    h, w, _ = image.shape
    row, column = (jnp.minimum(jnp.arange(side), side - 1 - jnp.arange(side)) for side in (h, w))
    edge = (row < jnp.round(width * h))[:, None] | (column < jnp.round(width * w))[None]
    colour = jax.random.uniform(rng.stream(key, "colour"), (3,), minval=-1, maxval=1)
    return overlay(image, colour=colour, opacity=edge.astype(image.dtype))


def framed(key: Key, image: Image, *, scale: float) -> Image:
    """All of the image, `scale` of each side, anywhere within a frame of one random colour."""
    h, w, _ = image.shape
    height, width = (max(1, round(scale * side)) for side in (h, w))
    small = jax.image.resize(image, (height, width, 3), "linear")
    room = jnp.array([h - height, w - width, 0]) + 1
    place = jax.random.randint(rng.stream(key, "place"), (3,), 0, room)
    colour = jax.random.uniform(rng.stream(key, "colour"), (3,), minval=-1, maxval=1)
    return jax.lax.dynamic_update_slice(jnp.broadcast_to(colour, image.shape), small, place)


def caption(key: Key, image: Image, *, height: float) -> Image:
    """A word in white over the image, its font `height` of the image's high, in a random line."""
    h, w, _ = image.shape
    opacity = jnp.asarray(text_opacity("SALE", h, w, height=height, left=0.05, top=0.0))
    down = jax.random.randint(rng.stream(key, "line"), (), 0, round((1 - height) * h))
    return overlay(image, colour=jnp.ones(3), opacity=jnp.roll(opacity, down, axis=0))


def text_opacity(text: str, h: int, w: int, *, height: float, left: float, top: float) -> np.ndarray:
    """The opacity [h, w] of `text`: `height` of its font, `left` and `top` are shares of the image."""
    picture = PillowImage.new("L", (w, h))
    font = ImageFont.load_default(size=max(1.0, height * h))
    ImageDraw.Draw(picture).text((left * w, top * h), text, fill=255, font=font)
    return np.asarray(picture, np.float32) / 255


def strokes(key: Key, image: Image, *, count: int, width: float | Scalar, parts: int, reach: float) -> Image:
    """`count` strokes of `width` pixels and 2 … `parts` parts.

    A part moves right or left, and up or down, by up to `reach` of the shorter side; ends stay inside.
    """
    h, w, _ = image.shape

    def one(index: Array, image: Image) -> Image:
        drawn = rng.stream(key, "stroke", index)
        start = jax.random.uniform(rng.stream(drawn, "start"), (2,))
        moves = jax.random.uniform(rng.stream(drawn, "moves"), (parts, 2), minval=-1, maxval=1)
        moving = jnp.arange(parts) < jax.random.randint(rng.stream(drawn, "parts"), (), 2, parts + 1)
        size = jnp.asarray([h, w], jnp.float32)
        ends = _walk(start * size, moves * moving[:, None] * reach * min(h, w), size)
        colour = jax.random.uniform(rng.stream(drawn, "colour"), (3,), minval=-1, maxval=1)
        near = _distance(ends, h, w) <= width / 2
        return overlay(image, colour=colour, opacity=near.astype(image.dtype))

    return jax.lax.fori_loop(0, count, one, image)


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


def _walk(
    start: Float[Array, " 2"], moves: Float[Array, "n 2"], size: Float[Array, " 2"]
) -> Float[Array, "m 2"]:
    """Start, and where each move ends inside the image."""

    def move(place: Array, step: Array) -> tuple[Array, Array]:
        place = jnp.clip(place + step, 0, size)
        return place, place

    return jnp.concatenate([start[None], jax.lax.scan(move, start, moves)[1]])


def _distance(ends: Float[Array, "m 2"], h: int, w: int) -> Float[Array, "h w"]:
    """Of every pixel's centre from the broken line through `ends`, in pixels."""
    pixels = jnp.stack(jnp.meshgrid(jnp.arange(h) + 0.5, jnp.arange(w) + 0.5, indexing="ij"), axis=-1)
    begin, along = ends[:-1], ends[1:] - ends[:-1]
    offset = pixels[:, :, None] - begin[None, None]
    length = jnp.maximum(jnp.square(along).sum(axis=-1), 1e-12)
    share = jnp.clip((offset * along[None, None]).sum(axis=-1) / length[None, None], 0, 1)
    nearest = offset - share[..., None] * along[None, None]
    return jnp.sqrt(jnp.square(nearest).sum(axis=-1).min(axis=-1))


def _whole(length: Scalar, side: int) -> Count:
    return jnp.clip(jnp.round(length).astype(int), 1, side)
