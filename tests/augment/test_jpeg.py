"""JPEG against libjpeg and the tables in its files."""

import io
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from latentfp.augment.codecs import CHROMINANCE, LUMINANCE, file_table, jpeg, libjpeg
from latentfp.pixels import to_float, to_pixels


def photograph(h, w, seed=0):
    """Smooth shading, an edge, some grain: uint8 with few values at the limits."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w] / max(h, w)
    shading = 128 + 70 * np.stack([np.sin(5 * x + 2 * y), np.cos(4 * y), np.sin(3 * (x - y))], axis=-1)
    shading[(x - 0.4) ** 2 + (y - 0.5) ** 2 < 0.08] += [50, -40, 20]
    return np.clip(np.round(shading + 6 * draw.standard_normal((h, w, 3))), 0, 255).astype(np.uint8)


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


def test_the_table_is_not_transposed():
    """Stripes with a coefficient of 16 live where the step is 24 and die where it is 40."""
    assert (LUMINANCE[5, 0], LUMINANCE[0, 5]) == (24, 40)
    wave = 16 * 2**0.5 / 8 / 127.5 * np.cos((2 * np.arange(16) + 1) * 5 * np.pi / 16)
    down = jnp.asarray(np.broadcast_to(wave[:, None, None], (16, 16, 3)), jnp.float32)
    amplitude = jax.jit(lambda x: jnp.abs(jpeg(x, quality=50)).max())
    assert amplitude(down) > 0.03
    assert amplitude(down.swapaxes(0, 1)) < 0.01


def test_straight_through_gradient_of_the_imitation_is_the_identity():
    """Without subsampling the stages undo each other; only rounding is left, and it counts as nothing."""
    image = 0.5 * to_float(jnp.asarray(photograph(16, 24)))
    weights = jax.random.normal(jax.random.key(1), image.shape)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(weights * jpeg(x, quality=90, subsampling="4:4:4"))))(image)
    # The matrices to and from Y, Cb, Cr are given to six digits, and invert each other to 3e-6.
    np.testing.assert_allclose(gradient, weights, atol=5e-5)


def test_libjpeg_keeps_size_and_loses_less_at_higher_quality():
    pixels = photograph(33, 50)
    errors = [
        np.abs(libjpeg(pixels, quality=quality).astype(int) - pixels).mean() for quality in (10, 50, 95)
    ]
    assert libjpeg(pixels, quality=50).shape == (33, 50, 3)
    assert errors[0] > errors[1] > errors[2] > 0


@pytest.mark.parametrize("codec", [jpeg, libjpeg])
@pytest.mark.parametrize("quality", [0, 101])
def test_impossible_qualities_are_refused(codec, quality):
    image = photograph(16, 16)
    with pytest.raises(ValueError, match="from 1 to 100"):
        codec(image if codec is libjpeg else jnp.asarray(to_float(image)), quality=quality)
