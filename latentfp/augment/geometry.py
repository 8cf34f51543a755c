"""Cropping, turning, mirroring, resizing and perspective; images keep their size, and black is beyond them.

A window of round(scale · h) × round(scale · w) whole pixels is cut out and resized to h × w by bilinear
interpolation: pixel centres at half-integers, the window's own edge pixels repeated outside it. `scale` is
the share of each *side* that is kept: 0.8 keeps 64 % of the area. Source of the centre crop: Kim et al. 2021,
*Decentralized Attribution of Generative Models* (scale 0.8 to 1), on which the paper builds.

`warp` looks through a window that need not be of whole pixels and may be turned, by φ counter-clockwise, so
its parameters have gradients. Output pixel (i, j) shows the place

    y = h/2 + h · shift_down  + scale · ( cos φ (i + ½ - h/2) + sin φ (j + ½ - w/2)) - ½
    x = w/2 + w · shift_right + scale · (-sin φ (i + ½ - h/2) + cos φ (j + ½ - w/2)) - ½

For the same window the two differ only within half a pixel of its border, where `warp` sees what lies beyond.

`shrink_and_enlarge` makes a line of n pixels one of m = max(round(scale · n), 1) pixels and n again.
Shrinking weighs old pixels by a triangle that reaches n / m to either side, so nothing is skipped; enlarging
is bilinear with the edge pixels repeated. Source: the bilinear filter of Pillow, and of torchvision with
antialiasing.

`perspective` moves the image's corners, and straight lines stay straight: output pixel (x, y), measured from
0 to 1 across the image, shows the place

    (a x + b y + c, d x + e y + f) / (g x + h y + 1)

with the eight numbers that take the places back to the corners. Source: `perspective` and `RandomPerspective`
of torchvision.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from latentfp.augment.blur import separable
from latentfp.types import Count, Image, Key, Scalar

Corners = Float[Array, "4 2"]  # (right, down) of top left, top right, bottom right, bottom left
SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def crop_and_resize(image: Image, *, scale: float | Scalar) -> Image:
    """Keep the central `scale`, in (0, 1], of each side; keeps the range of values.

    Differentiable by the image; by `scale` it is piecewise smooth only, since windows are whole pixels.
    """
    h, w, _ = image.shape
    height, width = _kept(h, scale), _kept(w, scale)
    return _resized_window(image, (h - height) // 2, (w - width) // 2, height, width)


def random_crop_and_resize(key: Key, image: Image, *, scale: float | Scalar) -> Image:
    """Like `crop_and_resize`, but the window lies anywhere in the image with equal probability."""
    h, w, _ = image.shape
    height, width = _kept(h, scale), _kept(w, scale)
    top, left = jax.random.randint(key, (2,), 0, jnp.stack([h - height, w - width]) + 1)
    return _resized_window(image, top, left, height, width)


def warp(
    image: Image,
    *,
    degrees: float | Scalar = 0.0,
    scale: float | Scalar = 1.0,
    shift: tuple[float | Scalar, float | Scalar] | Float[Array, " 2"] = (0.0, 0.0),
) -> Image:
    """Look at the image through a window that is turned, scaled and moved; black (-1) beyond the image.

    The content turns counter-clockwise by `degrees` about the centre of the window, whose sides are `scale`
    times those of the image, `scale` > 0, and whose centre lies `shift` (down, right; in sides) from the
    image's. Bilinear; keeps the range of values. Differentiable by all four, but piecewise: there are kinks
    where a place crosses a pixel's centre, and jumps where it leaves the image.
    """
    if isinstance(scale, float | int) and scale <= 0:
        raise ValueError(f"scale {scale}: expected a positive share of each side, 1 for all of it")
    h, w, _ = image.shape
    angle = jnp.deg2rad(degrees)
    cos, sin = scale * jnp.cos(angle), scale * jnp.sin(angle)
    down, right = (jnp.arange(n) - (n - 1) / 2 for n in (h, w))
    y = (h - 1) / 2 + h * shift[0] + cos * down[:, None] + sin * right[None, :]
    x = (w - 1) / 2 + w * shift[1] - sin * down[:, None] + cos * right[None, :]
    return _looked_up(image, y, x)


def rotate(image: Image, *, degrees: float | Scalar) -> Image:
    """Turn counter-clockwise about the centre; the corners that nothing covers become black (-1)."""
    return warp(image, degrees=degrees)


def random_rotate(key: Key, image: Image, *, degrees: float | Scalar) -> Image:
    """Turn about the centre by up to `degrees` either way, all angles with equal chances."""
    return rotate(image, degrees=jax.random.uniform(key, minval=-degrees, maxval=degrees))


def flip(image: Image) -> Image:
    """Left becomes right."""
    return image[:, ::-1]


def shrink_and_enlarge(image: Image, *, scale: float | Scalar) -> Image:
    """Down to `scale`, in (0, 1], of each side and back; keeps the range of values.

    Differentiable by the image; by `scale` it is piecewise constant, since pixels are whole.
    """
    h, w, _ = image.shape
    matrices = [_there_and_back(side, _kept(side, scale)) for side in (h, w)]
    return separable(image, rows=matrices[0], columns=matrices[1])


def perspective(image: Image, *, corners: Corners) -> Image:
    """With its corners at `corners`, in sides from the top left; keeps the range of values.

    Differentiable by both, but piecewise as `warp`. No three corners may lie on one line.
    """
    h, w, _ = image.shape
    a, b, c, d, e, f, g, k = _back(corners)
    down, right = (jnp.arange(h)[:, None] + 0.5) / h, (jnp.arange(w)[None, :] + 0.5) / w
    depth = g * right + k * down + 1
    x = w * (a * right + b * down + c) / depth - 0.5
    y = h * (d * right + e * down + f) / depth - 0.5
    return _looked_up(image, y, x)


def random_perspective(key: Key, image: Image, *, distortion: float | Scalar) -> Image:
    """Every corner moved inwards by up to `distortion`, in [0, 1], of half a side, with equal chances."""
    if isinstance(distortion, float | int) and not 0 <= distortion <= 1:
        raise ValueError(f"distortion {distortion}: expected a share of half the sides, 0 to 1")
    square = jnp.asarray(SQUARE)
    moved = jax.random.uniform(key, (4, 2)) * distortion / 2
    return perspective(image, corners=square + moved * (1 - 2 * square))


def _kept(n: int, scale: float | Scalar) -> Count:
    if isinstance(scale, float | int) and not 0 < scale <= 1:
        raise ValueError(f"scale {scale}: expected the share of each side to keep, above 0 and at most 1")
    return jnp.maximum(jnp.round(n * jnp.float32(scale)).astype(int), 1)


def _looked_up(image: Image, y: Float[Array, "i j"], x: Float[Array, "i j"]) -> Float[Array, "i j 3"]:
    """What the image shows at rows `y` and columns `x`, whole at pixel centres; black (-1) beyond it."""
    h, w, _ = image.shape
    inside = (y > -0.5) & (y < h - 0.5) & (x > -0.5) & (x < w - 0.5)
    return jnp.where(inside[..., None], _interpolated(image, y, x), -1.0)


def _resized_window(image: Image, top: Count, left: Count, height: Count, width: Count) -> Image:
    h, w, _ = image.shape
    return separable(image, rows=_bilinear_matrix(h, top, height), columns=_bilinear_matrix(w, left, width))


def _bilinear_matrix(n: int, start: Count, size: Count) -> Float[Array, "n n"]:
    """Stretches pixels start … start + size - 1 of a line of n pixels over the whole line."""
    centre = start + (jnp.arange(n) + 0.5) * size / n - 0.5
    inside = jnp.clip(centre, start, start + size - 1)
    return jnp.maximum(0.0, 1.0 - jnp.abs(inside[:, None] - jnp.arange(n)[None, :]))


def _interpolated(image: Image, y: Float[Array, "i j"], x: Float[Array, "i j"]) -> Float[Array, "i j 3"]:
    """Bilinear, with the edge pixels repeated outside."""
    h, w, _ = image.shape
    y, x = jnp.clip(y, 0, h - 1), jnp.clip(x, 0, w - 1)
    top, left = (jnp.clip(jnp.floor(place).astype(int), 0, max(n - 2, 0)) for place, n in ((y, h), (x, w)))
    below, beside = (y - top)[..., None], (x - left)[..., None]
    bottom, after = jnp.minimum(top + 1, h - 1), jnp.minimum(left + 1, w - 1)
    upper = image[top, left] * (1 - beside) + image[top, after] * beside
    lower = image[bottom, left] * (1 - beside) + image[bottom, after] * beside
    return upper * (1 - below) + lower * below


def _there_and_back(n: int, small: Count) -> Float[Array, "n n"]:
    """Down to `small` pixels and back as one matrix; of the small line's pixels only the first exist."""
    old, new = jnp.arange(n) + 0.5, (jnp.arange(n) + 0.5) * n / small
    shrinking = jnp.maximum(0.0, 1.0 - jnp.abs(new[:, None] - old[None, :]) * small / n)
    shrinking = shrinking / jnp.maximum(shrinking.sum(axis=1, keepdims=True), 1e-6)
    places = jnp.clip(old * small / n - 0.5, 0, small - 1)
    enlarging = jnp.maximum(0.0, 1.0 - jnp.abs(places[:, None] - jnp.arange(n)[None, :]))
    return jnp.einsum("im,mj->ij", enlarging, shrinking, precision="highest")


def _back(corners: Corners) -> Float[Array, " 8"]:
    """The eight numbers with which `corners` become those of the square."""
    rows, targets = [], []
    for (x, y), (u, v) in zip(corners, SQUARE, strict=True):
        nought = jnp.zeros_like(x)
        one = nought + 1
        rows.append(jnp.stack([x, y, one, nought, nought, nought, -u * x, -u * y]))
        rows.append(jnp.stack([nought, nought, nought, x, y, one, -v * x, -v * y]))
        targets += [u, v]
    return jnp.linalg.solve(jnp.stack(rows), jnp.asarray(targets, corners.dtype))
