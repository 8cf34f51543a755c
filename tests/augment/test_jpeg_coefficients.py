"""The coefficients that JPEG rounds, against scipy and against what libjpeg does to them."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.fft import dctn

from latentfp.augment.codecs import (
    CHROMINANCE,
    LUMINANCE,
    coefficient_errors,
    coefficients,
    file_table,
    libjpeg,
)
from latentfp.pixels import to_float

TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def split(values, height, width):
    """Luma [i j 8 8] and chroma [i j 2 8 8] blocks of coefficients."""
    rows, columns = height // 8, width // 8
    luma, chroma = values[: height * width], values[height * width :]
    return luma.reshape(rows, columns, 8, 8), chroma.reshape(rows // 2, columns // 2, 2, 8, 8)


def oracle(pixels) -> Any:
    """Blocks by scipy, in float64, of whole macroblocks."""
    ycc = pixels.astype(np.float64) @ TO_YCC.T - [128, 0, 0]
    h, w, _ = ycc.shape
    halved = ycc[..., 1:].reshape(h // 2, 2, w // 2, 2, 2).mean((1, 3))
    luma = ycc[..., 0].reshape(h // 8, 8, w // 8, 8).transpose(0, 2, 1, 3)
    chroma = halved.reshape(h // 16, 8, w // 16, 8, 2).transpose(0, 2, 4, 1, 3)
    return tuple(dctn(plane, axes=(-2, -1), norm="ortho") for plane in (luma, chroma))


def test_coefficients_are_scipys():
    pixels = np.random.default_rng(1).integers(0, 256, (32, 48, 3), np.uint8)
    found = split(np.asarray(coefficients(jnp.asarray(to_float(pixels)))), 32, 48)
    for blocks, expected in zip(found, oracle(pixels), strict=True):
        # float32 sums of 64 products of numbers up to 255: 64 · 6e-8 · 255 and less
        np.testing.assert_allclose(blocks, expected, atol=2e-3)


@pytest.mark.parametrize("quality", [10, 50, 90, 100])
def test_errors_are_those_of_uniform_rounding(quality):
    luma, chroma = split(np.asarray(coefficient_errors(16, 32, quality=quality)), 16, 32)
    for errors, table in ((luma, LUMINANCE), (chroma, CHROMINANCE)):
        expected = np.asarray(file_table(table, quality), np.float64) / np.sqrt(12)
        np.testing.assert_allclose(errors, np.broadcast_to(expected, errors.shape), rtol=1e-6)


@pytest.mark.parametrize("shape", [(16, 16), (20, 30), (33, 8)])
def test_there_is_an_error_for_every_coefficient(shape):
    image = jnp.zeros((*shape, 3))
    assert coefficients(image).shape == coefficient_errors(*shape, quality=75).shape


def test_luma_of_real_files_errs_as_stated():
    """Grey noise of 1024 blocks, whose coefficients of deviation 50 are far above the table of quality 90."""
    grey = np.random.default_rng(2).integers(40, 216, (256, 256, 1), np.uint8)
    pixels = np.broadcast_to(grey, (256, 256, 3))
    seen = coefficients(jnp.asarray(to_float(libjpeg(np.ascontiguousarray(pixels), quality=90))))
    luma, _ = split(np.asarray(seen), 256, 256)
    error = np.std(luma - oracle(pixels)[0], axis=(0, 1))
    stated, _ = split(np.asarray(coefficient_errors(256, 256, quality=90), np.float64), 256, 256)
    # The viewer rounds pixels too: 1/12 each. A deviation of 1024 uniform numbers is known to
    # sqrt(0.2 / 1024) = 1.4 percent; six of these.
    np.testing.assert_allclose(error, np.sqrt(stated[0, 0] ** 2 + 1 / 12), rtol=0.085)


def test_chroma_of_real_files_errs_as_stated():
    """Files of one colour each: all that can be seen of chroma is the first coefficient."""
    random, quality, errors = np.random.default_rng(3), 25, []
    for _ in range(150):
        pixels = np.broadcast_to(random.integers(90, 166, 3), (16, 16, 3)).astype(np.uint8)
        seen = coefficients(jnp.asarray(to_float(libjpeg(pixels, quality=quality))))
        _, chroma = split(np.asarray(seen), 16, 16)
        errors.append((chroma - oracle(pixels)[1])[0, 0, :, 0, 0])
    _, stated = split(np.asarray(coefficient_errors(16, 16, quality=quality), np.float64), 16, 16)
    # Rounded pixels shift 8 Cb or 8 Cr by up to 8 · 0.66 / sqrt(12) = 1.5, against 9.8; 300 uniform numbers
    # know their deviation to sqrt(0.2 / 300) = 2.6 percent, five of these, and one for the shift.
    np.testing.assert_allclose(np.std(errors), stated[0, 0, 0, 0, 0], rtol=0.15)
