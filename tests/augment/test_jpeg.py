"""JPEG against libjpeg, the tables in its files, and a float64 restatement of the paper's variant."""

import io
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn, idctn

from latentfp.augment.codecs import libjpeg
from latentfp.augment.jpeg import (
    CHROMINANCE,
    LUMINANCE,
    cubic,
    file_table,
    jpeg,
    paper_jpeg,
    straight_through,
)
from latentfp.pixels import to_float, to_pixels


def photograph(h, w, seed=0):
    """Smooth shading, an edge, some grain: uint8 with few values at the limits."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w] / max(h, w)
    shading = 128 + 70 * np.stack([np.sin(5 * x + 2 * y), np.cos(4 * y), np.sin(3 * (x - y))], axis=-1)
    shading[(x - 0.4) ** 2 + (y - 0.5) ** 2 < 0.08] += [50, -40, 20]
    return np.clip(np.round(shading + 6 * draw.standard_normal((h, w, 3))), 0, 255).astype(np.uint8)


def paper_jpeg_float64(image, quality, rounding):
    factor = (5000 / quality if quality < 50 else 200 - 2 * quality) / 100

    def blocks(plane, table):
        out = np.empty_like(plane)
        for i in range(0, plane.shape[0], 8):
            for j in range(0, plane.shape[1], 8):
                levels = dctn(plane[i : i + 8, j : j + 8] - 128, norm="ortho") / (table * factor)
                out[i : i + 8, j : j + 8] = 128 + np.asarray(
                    idctn(rounding(levels) * table * factor, norm="ortho")
                )
        return out

    r, g, b = np.moveaxis((image.astype(np.float64) + 1) * 127.5, 2, 0)
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    blue = 128 - 0.168736 * r - 0.331264 * g + 0.5 * b
    red = 128 + 0.5 * r - 0.418688 * g - 0.081312 * b
    shrunk = [(c[::2, ::2] + c[1::2, ::2] + c[::2, 1::2] + c[1::2, 1::2]) / 4 for c in (blue, red)]
    luma = blocks(luma, LUMINANCE.T)
    blue, red = (np.kron(blocks(c, CHROMINANCE), np.ones((2, 2))) - 128 for c in shrunk)
    rgb = [luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue]
    return np.clip(np.stack(rgb, axis=-1), 0, 255) / 127.5 - 1


def test_the_tables_are_those_in_the_files_of_libjpeg():
    def in_file(quality):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
        return Image.open(file).quantization  # type: ignore[attr-defined]

    files = [in_file(quality) for quality in range(1, 101)]
    for number, table in enumerate((LUMINANCE, CHROMINANCE)):
        ours = jax.jit(jax.vmap(partial(file_table, table)))(jnp.arange(1.0, 101.0))
        np.testing.assert_array_equal(ours.reshape(100, 64), [file[number] for file in files])


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize("shape", [(64, 64), (41, 58), (56, 44), (72, 3)], ids=str)
def test_the_imitation_is_within_a_grey_level_of_libjpeg(subsampling, shape):
    pixels = photograph(*shape)
    ours = jax.jit(lambda x, q: to_pixels(jpeg(x, quality=q, subsampling=subsampling)))
    for quality in (10, 25, 49, 50, 75, 90, 95):
        expected = libjpeg(pixels, quality=quality, subsampling=subsampling).astype(int)
        difference = np.abs(np.asarray(ours(to_float(pixels), quality)) - expected)
        # 0.35 seen, from coefficients that integer arithmetic moves across a half. A wrong stage costs more.
        assert difference.mean() <= 0.5, f"mean {difference.mean()} at quality {quality}"


def test_the_imitation_gives_whole_grey_levels():
    image = to_float(photograph(16, 16))
    levels = (jax.jit(lambda x: jpeg(x, quality=30))(image) + 1) * 127.5
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)  # eps32 · 255 · a few


@pytest.mark.parametrize(
    "rounding", [np.round, lambda v: np.round(v) + (v - np.round(v)) ** 3], ids=["whole", "cubic"]
)
@pytest.mark.parametrize("quality", [30, 80])
def test_the_papers_jpeg_is_its_restatement(quality, rounding):
    image = 1.1 * to_float(photograph(32, 48))
    ours = jax.jit(
        lambda x: paper_jpeg(x, quality=quality, rounding=jnp.round if rounding is np.round else cubic)
    )(image)
    far = np.abs(ours - paper_jpeg_float64(image, quality, rounding)) > 1e-5
    # Values of 255 in float32 are exact to 2e-5 grey levels, 2e-7 here. A coefficient at a half may differ.
    assert far.mean() < 0.05


def test_the_papers_table_is_transposed():
    """Stripes with a coefficient of 16 live where the step is 24 and die where it is 40."""
    assert (LUMINANCE[5, 0], LUMINANCE[0, 5]) == (24, 40)
    wave = 16 * 2**0.5 / 8 / 127.5 * np.cos((2 * np.arange(16) + 1) * 5 * np.pi / 16)
    down = jnp.asarray(np.broadcast_to(wave[:, None, None], (16, 16, 3)), jnp.float32)
    across = down.swapaxes(0, 1)
    for codec, lives, dies in ((jpeg, down, across), (paper_jpeg, across, down)):
        amplitude = jax.jit(lambda x, codec=codec: jnp.abs(codec(x, quality=50, rounding=jnp.round)).max())
        assert amplitude(lives) > 0.03
        assert amplitude(dies) < 0.01


def test_straight_through_gradient_of_the_imitation_is_the_identity():
    """Without subsampling the stages undo each other; only rounding is left, and it counts as nothing."""
    image = 0.5 * to_float(jnp.asarray(photograph(16, 24)))
    weights = jax.random.normal(jax.random.key(1), image.shape)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(weights * jpeg(x, quality=90, subsampling="4:4:4"))))(image)
    # The matrices to and from Y, Cb, Cr are given to six digits, and invert each other to 3e-6.
    np.testing.assert_allclose(gradient, weights, atol=5e-5)


def test_the_rounding_of_coefficients_decides_the_gradient():
    image = to_float(jnp.asarray(photograph(16, 16)))
    gradient = jax.jit(jax.grad(lambda x: jpeg(x, quality=50, rounding=jnp.round).sum()))(image)
    assert not gradient.any(), "nothing passes a plain rounding"


def test_roundings():
    x = jnp.asarray([-2.6, -0.5, 0.2, 0.5, 1.5])
    np.testing.assert_array_equal(straight_through(x), [-3, 0, 0, 0, 2])
    np.testing.assert_array_equal(jax.vmap(jax.grad(straight_through))(x), np.ones(5))
    np.testing.assert_allclose(cubic(x), [-2.936, -0.125, 0.008, 0.125, 1.875], atol=1e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(cubic))(x), [0.48, 0.75, 0.12, 0.75, 0.75], atol=1e-5)


def test_libjpeg_keeps_size_and_loses_less_at_higher_quality():
    pixels = photograph(33, 50)
    errors = [
        np.abs(libjpeg(pixels, quality=quality).astype(int) - pixels).mean() for quality in (10, 50, 95)
    ]
    assert libjpeg(pixels, quality=50).shape == (33, 50, 3)
    assert errors[0] > errors[1] > errors[2] > 0


@pytest.mark.parametrize("codec", [jpeg, paper_jpeg, libjpeg])
@pytest.mark.parametrize("quality", [0, 101])
def test_impossible_qualities_are_refused(codec, quality):
    image = photograph(16, 16)
    with pytest.raises(ValueError, match="from 1 to 100"):
        codec(image if codec is libjpeg else jnp.asarray(to_float(image)), quality=quality)
