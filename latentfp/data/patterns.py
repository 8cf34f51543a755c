"""Computed pictures that no generator made: noise of every colour, and flat ones."""

import numpy as np
from jaxtyping import Float, UInt8

Pattern = UInt8[np.ndarray, "size size 3"]
Field = Float[np.ndarray, "size size c"]

EXTREMES = 0.02  # share of the flat pictures that are black or white
SPECTRUM = (0.5, 2.0)  # exponents of 1 / frequency, of the amplitude


def noise(random: np.random.Generator, size: int) -> Pattern:
    """White noise, noise of amplitude 1 / frequency^a with a in 0.5 … 2, or noise in blocks, equally often.

    Values are Gaussian or uniform before they are filtered, grey or coloured, with a mean of 64 … 192 and a
    standard deviation of 10 … 80 grey levels before they are limited to 0 … 255: uint8 [size size 3].
    """
    channels = int(random.choice([1, 3]))
    structure = (_white, _coloured, _blocks)[random.integers(3)]
    field = structure(random, size, channels)
    levels = random.uniform(64, 192) + random.uniform(10, 80) * field
    return np.broadcast_to(_rounded(levels), (size, size, 3)).copy()


def flat(random: np.random.Generator, size: int) -> Pattern:
    """One colour, a linear gradient or a checkerboard of two, or, one time in fifty, black or white.

    Colours are uniform in the cube, directions in the circle, the squares' sides in 1 … size / 2 pixels:
    uint8 [size size 3].
    """
    if random.random() < EXTREMES:
        return np.full((size, size, 3), random.choice([0, 255]), np.uint8)
    weight = (_even, _gradient, _checkerboard)[random.integers(3)](random, size)
    one, other = random.uniform(0, 255, (2, 3))
    return _rounded(one[None, None] + (other - one)[None, None] * weight)


def _rounded(levels: Field) -> UInt8[np.ndarray, "size size c"]:
    return np.round(np.clip(levels, 0, 255)).astype(np.uint8)


def _white(random: np.random.Generator, size: int, channels: int) -> Field:
    """Mean 0 and variance 1, Gaussian or uniform."""
    shape = (size, size, channels)
    return (
        random.standard_normal(shape) if random.random() < 0.5 else random.uniform(-(3**0.5), 3**0.5, shape)
    )


def _coloured(random: np.random.Generator, size: int, channels: int) -> Field:
    """Every frequency but zero divided by its length to a power; each channel mean 0 and variance 1."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    gain = frequency[..., None] ** -random.uniform(*SPECTRUM)
    spectrum = np.fft.rfft2(_white(random, size, channels), axes=(0, 1)) * gain
    field = np.fft.irfft2(spectrum, s=(size, size), axes=(0, 1))
    return field / field.std(axis=(0, 1), keepdims=True)


def _blocks(random: np.random.Generator, size: int, channels: int) -> Field:
    """Squares of one value, 2 … size / 2 pixels wide; the last ones may be cut."""
    side = int(random.integers(2, max(size // 2, 2) + 1))
    values = _white(random, -(-size // side), channels)
    return values.repeat(side, axis=0).repeat(side, axis=1)[:size, :size]


def _even(random: np.random.Generator, size: int) -> Field:
    return np.full((size, size, 1), random.random())


def _gradient(random: np.random.Generator, size: int) -> Field:
    angle, place = random.uniform(0, 2 * np.pi), np.linspace(-1, 1, size)
    along = np.cos(angle) * place[:, None] + np.sin(angle) * place[None, :]
    return (0.5 + along / (2 * (abs(np.cos(angle)) + abs(np.sin(angle)))))[..., None]


def _checkerboard(random: np.random.Generator, size: int) -> Field:
    side = int(random.integers(1, max(size // 2, 1) + 1))
    row, column = (np.arange(size) + random.integers(2 * side, size=(2, 1))) // side
    return ((row[:, None] + column[None, :]) % 2).astype(float)[..., None]
