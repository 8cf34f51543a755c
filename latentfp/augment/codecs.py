"""Codecs: the real ones, and a differentiable imitation of libjpeg.

`libjpeg`, `webp` and `jpeg2000` are what a viewer shows of the file that the pixels were saved to; not
differentiable. The first two take the quality of their encoders, 1 to 100 (WebP: lossy); `jpeg2000` takes how
many times smaller than 24 bits a pixel the file shall be, and uses the irreversible 9/7 wavelet. Source:
libjpeg, libwebp and OpenJPEG, through Pillow.

`jpeg` imitates libjpeg. RGB in 0 … 255 becomes Y, Cb, Cr (ITU-R BT.601, full range); at 4:2:0 Cb and Cr are
averaged over 2×2 pixels; the cosine transform C of each 8×8 block is kept as round(C / T), where the table T
(ITU-T T.81, Annex K) is scaled by

    factor = 50 / quality   below quality 50,   2 - quality / 50   from there on

with whole-numbered tables, 8-bit rounding between the stages, triangle-filtered chroma, and libjpeg's way
with ties, which integers often meet.
"""

import io
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real
from PIL import Image as PillowImage

from latentfp.types import Image, Pixels

Subsampling = Literal["4:4:4", "4:2:0"]
Quality = float | int | Real[Array, ""]
Planes = Float[Array, "h w c"]
Table = Float[Any, "8 8"]

# fmt: off
LUMINANCE = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56], [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]], np.float32)
CHROMINANCE = np.full((8, 8), 99, np.float32)
CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]], np.float32)
# fmt: on
CENTRE = np.array([0, 128, 128], np.float32)[None, None]

_COSINES = np.cos(np.outer(np.arange(8), 2 * np.arange(8) + 1) * np.pi / 16) / 2
_COSINES[0] /= 2**0.5
BASIS = np.einsum("ui,vj->uvij", _COSINES, _COSINES).astype(np.float32)
TIE = 1 / 64  # decides ties, and is less than the sixteenths in which chroma is averaged and interpolated


def libjpeg(pixels: Pixels, *, quality: int, subsampling: Subsampling = "4:2:0") -> Pixels:
    """The JPEG file of these pixels. NumPy in and out."""
    return _reopened(pixels, "JPEG", quality=_checked_quality(quality), subsampling=subsampling)


def webp(pixels: Pixels, *, quality: int) -> Pixels:
    """The lossy WebP file of these pixels. NumPy in and out."""
    return _reopened(pixels, "WEBP", quality=_checked_quality(quality))


def jpeg2000(pixels: Pixels, *, ratio: float) -> Pixels:
    """The JPEG 2000 file of these pixels, `ratio` ≥ 1 times smaller. NumPy in and out."""
    if ratio < 1:
        raise ValueError(f"ratio {ratio}: expected how many times smaller the file shall be, at least 1")
    return _reopened(pixels, "JPEG2000", quality_mode="rates", quality_layers=[ratio], irreversible=True)


def jpeg(
    image: Image,
    *,
    quality: Quality,
    subsampling: Subsampling = "4:2:0",
) -> Image:
    """A differentiable imitation of libjpeg; the result is in [-1, 1], in whole grey levels.

    `quality` is 1 to 100 and may be traced. Gradients go straight through every rounding. Sides that
    are not whole blocks are extended by their last pixel, chroma downwards after it was averaged; a plane of
    chroma of 1 or 2 columns is repeated, not interpolated.
    """
    h, w, _ = image.shape
    step = _chroma_step(subsampling)

    def stored(planes: Planes, table: Table) -> Planes:
        table = file_table(table, quality)[None, None, None]
        return _grey_levels(_in_blocks(planes, lambda c: _straight_through(_eighths(c) / table) * table))

    planes = _grey_levels(_to_ycc(_grey_levels((image + 1) * 127.5)))
    luma = stored(_extended(planes[..., :1], 8, 8), LUMINANCE)[:h, :w]
    chroma = stored(_grey_levels(_tilted(_subsampled(planes[..., 1:], step), -TIE)), CHROMINANCE)
    chroma = _enlarged(chroma[: -(-h // step), : -(-w // step)], step)[:h, :w]
    return _grey_levels(_to_rgb(jnp.concatenate([luma, chroma], axis=-1))) / 127.5 - 1


def coefficients(image: Image) -> Float[Array, " p"]:
    """The cosine coefficients that JPEG at 4:2:0 rounds, unrounded, in grey levels: luma, then Cb and Cr.

    Linear in the image but for a constant, and orthonormal in each plane.
    """
    planes = _to_ycc((image + 1) * 127.5)
    luma = _transformed(_extended(planes[..., :1], 16, 16))
    chroma = _transformed(_subsampled(planes[..., 1:], 2))
    return jnp.concatenate([luma.reshape(-1), chroma.reshape(-1)])


def coefficient_errors(height: int, width: int, *, quality: Quality) -> Float[Array, " p"]:
    """The standard deviation of the rounding of every coefficient of `coefficients`: T / √12."""
    h, w = (-(-side // 16) * 16 for side in (height, width))
    luma = jnp.broadcast_to(file_table(LUMINANCE, quality), (h // 8, w // 8, 1, 8, 8))
    chroma = jnp.broadcast_to(file_table(CHROMINANCE, quality), (h // 16, w // 16, 2, 8, 8))
    return jnp.concatenate([luma.reshape(-1), chroma.reshape(-1)]) / 12**0.5


def file_table(table: Table, quality: Quality) -> Table:
    """The table that libjpeg writes into a file of this quality: whole numbers from 1 to 255."""
    # The small additions keep quotients that are whole numbers from falling below their floor in float32.
    quality = jnp.float32(_checked_quality(quality))
    percent = jnp.floor(100 * jnp.where(quality < 50, 50 / quality, 2 - quality / 50) + 0.005)
    return jnp.clip(jnp.floor((table * percent + 50.5) / 100), 1, 255)


def _checked_quality(quality: Any) -> Any:
    """`quality`, of a JPEG or WebP file. ValueError for a number that is not in 1 … 100."""
    if isinstance(quality, float | int) and not 1 <= quality <= 100:
        raise ValueError(f"quality {quality}: expected a number from 1 to 100")
    return quality


def _reopened(pixels: Pixels, codec: str, **options: Any) -> Pixels:
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, codec, **options)
    return np.asarray(PillowImage.open(file).convert("RGB"))


def _straight_through(x: Array) -> Array:
    """round(x), halves to even, with the gradient of x."""
    return x + jax.lax.stop_gradient(jnp.round(x) - x)


def _in_blocks(planes: Planes, keep: Callable[[Array], Array]) -> Planes:
    """The planes after `keep` acted on the cosine coefficients [.. .. c 8 8] of their 8×8 blocks."""
    kept = keep(_transformed(planes))
    return _exact_einsum("abcuv,uvij->aibjc", kept, BASIS).reshape(planes.shape) + 128


def _transformed(planes: Planes) -> Float[Array, "i j c 8 8"]:
    h, w, c = planes.shape
    blocks = planes.reshape(h // 8, 8, w // 8, 8, c) - 128
    return _exact_einsum("aibjc,uvij->abcuv", blocks, BASIS)


def _eighths(coefficients: Array) -> Array:
    """libjpeg's integer transform works in eighths; they make ties, which it rounds away from zero."""
    return _straight_through(8 * coefficients) / 8 * (1 + 1e-6)


def _tilted(planes: Planes, amount: float) -> Planes:
    """Even columns raised by `amount` and odd ones lowered: which way they go at a tie."""
    sign = 1 - 2 * (jnp.arange(planes.shape[1]) % 2)
    return planes + amount * sign[None, :, None]


def _to_ycc(rgb: Image) -> Image:
    return _exact_einsum("hwc,dc->hwd", rgb, TO_YCC) + CENTRE


def _to_rgb(ycc: Image) -> Image:
    return _exact_einsum("hwc,dc->hwd", ycc - CENTRE, TO_RGB)


def _exact_einsum(subscripts: str, *operands: ArrayLike) -> Array:
    return jnp.einsum(subscripts, *operands, precision=jax.lax.Precision.HIGHEST)


def _grey_levels(x: Array) -> Array:
    return jnp.clip(_straight_through(x), 0, 255)


def _extended(planes: Planes, rows: int, columns: int) -> Float[Array, "i j c"]:
    """Extended by the last pixels to multiples of `rows` and `columns`."""
    h, w, _ = planes.shape
    return jnp.pad(planes, ((0, -h % rows), (0, -w % columns), (0, 0)), mode="edge")


def _subsampled(planes: Planes, step: int) -> Float[Array, "i j c"]:
    """Averages over step × step pixels, in whole blocks: extended to the right before, downwards after."""
    return _extended(_averaged(_extended(planes, step, 8 * step), step), 8, 8)


def _enlarged(planes: Planes, step: int) -> Float[Array, "i j c"]:
    if planes.shape[1] <= 2:
        return jnp.repeat(jnp.repeat(planes, step, axis=0), step, axis=1)
    return _grey_levels(_tilted(_interpolated(planes, step), TIE))


def _averaged(planes: Planes, step: int) -> Float[Array, "i j c"]:
    h, w, c = planes.shape
    return planes.reshape(h // step, step, w // step, step, c).mean((1, 3))


def _interpolated(planes: Planes, step: int) -> Float[Array, "i j c"]:
    """Each new pixel is 3/4 of the nearest old one and 1/4 of the next, in both directions."""
    h, w, c = planes.shape
    return jax.image.resize(planes, (h * step, w * step, c), "bilinear", precision=jax.lax.Precision.HIGHEST)


def _chroma_step(subsampling: Subsampling) -> int:
    steps = {"4:4:4": 1, "4:2:0": 2}
    if subsampling not in steps:
        raise ValueError(f"chroma subsampling {subsampling!r}: expected one of {', '.join(steps)}")
    return steps[subsampling]
