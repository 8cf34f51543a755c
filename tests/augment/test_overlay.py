"""Overlays: opacity mixes, text is where it shall be, strokes are as Pillow draws them."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

from latentfp.augment import overlay as overlays
from latentfp.augment.overlay import border, framed, overlay, strokes, text_opacity


def test_opacity_mixes():
    image, opacity = jnp.full((4, 6, 3), -0.5), jnp.linspace(0, 1, 24).reshape(4, 6)
    mixed = overlay(image, colour=jnp.asarray([1.0, 0.0, -1.0]), opacity=opacity)
    expected = np.interp(np.asarray(opacity), [0, 1], [-0.5, 1.0])
    np.testing.assert_allclose(mixed[..., 0], expected, atol=1e-6)
    np.testing.assert_allclose(mixed[..., 2], -expected / 3 - 2 / 3, atol=1e-6)


def test_text_has_its_place_and_size():
    opacity = text_opacity("Lorem Ipsum", 200, 300, height=0.15, left=0.1, top=0.5)
    rows, columns = (np.flatnonzero(opacity.any(axis=axis)) for axis in (1, 0))
    assert opacity.shape == (200, 300)
    assert opacity.max() == 1
    assert 100 <= rows[0] <= 112
    assert 18 <= np.ptp(rows) <= 36, "a font of 30 pixels"
    assert 30 <= columns[0] <= 36
    assert columns[-1] > 150


def test_a_stroke_is_as_wide_as_pillows_line():
    ends = jnp.asarray([[10.0, 8.0], [40.0, 50.0], [20.0, 60.0]])
    near = np.asarray(overlays._distance(ends, 64, 80)) <= 2.5
    picture = Image.new("L", (80, 64))
    line = [(float(x) - 0.5, float(y) - 0.5) for y, x in np.asarray(ends)]
    ImageDraw.Draw(picture).line(line, fill=255, width=5)
    drawn = np.asarray(picture) > 0
    assert near.sum() > 300
    # They differ at the rims and at the three ends, which Pillow leaves square.
    assert (near & drawn).sum() / (near | drawn).sum() > 0.85


def test_strokes_cover_what_they_should(key):
    """A stroke is a broken line of its own colour; ten of them, and nothing else, are drawn."""
    image = jnp.full((64, 96, 3), 3.0)  # a value that no colour has
    drawn = jax.jit(lambda one: strokes(one, image, count=10, width=3.0, parts=7, reach=0.25))
    colours, covered = [], []
    for one in jax.random.split(key, 20):
        pixels = np.asarray(drawn(one)).reshape(-1, 3)
        stroked = pixels[pixels[:, 0] < 2]
        assert np.abs(stroked).max() <= 1
        colours.append(len(np.unique(stroked, axis=0)))
        covered.append(len(stroked) / len(pixels))
    assert max(colours) == 10, "each is to be seen, unless others hide it"
    assert min(colours) >= 7
    # 4.5 parts of 0.25 · 64 · 0.77 (the mean of √(x² + y²) on the square) and 3 wide: 166 pixels, ten times,
    # less what crosses, leaves the image or ends: of 6144 pixels between a tenth and a quarter.
    assert 0.1 < np.mean(covered) < 0.25


def test_a_border_covers_what_a_frame_goes_around():
    image = jnp.asarray(np.random.default_rng(4).uniform(-0.5, 0.5, (20, 30, 3)), jnp.float32)
    bordered = np.asarray(border(jax.random.key(1), image, width=0.1))
    np.testing.assert_array_equal(bordered[2:-2, 3:-3], image[2:-2, 3:-3])
    assert len(np.unique(bordered[:2].reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(bordered[:, -3:].reshape(-1, 3), axis=0)) == 1


def test_a_framed_image_is_pillows_smaller_one_somewhere():
    image = np.random.default_rng(5).uniform(-0.5, 0.5, (20, 30, 3)).astype(np.float32)
    resized = [
        Image.fromarray(it).resize((24, 16), Image.Resampling.BILINEAR) for it in np.moveaxis(image, 2, 0)
    ]
    small = np.stack([np.asarray(channel) for channel in resized], axis=2)
    places = set()
    for seed in range(8):
        found = np.asarray(framed(jax.random.key(seed), jnp.asarray(image), scale=0.8))
        windows = np.lib.stride_tricks.sliding_window_view(found, small.shape)[..., 0, :, :, :]
        off = np.abs(windows - small).max(axis=(2, 3, 4))
        top, left = np.unravel_index(off.argmin(), off.shape)
        assert off.min() < 1e-5
        beyond = np.ones((20, 30), bool)
        beyond[top : top + 16, left : left + 24] = False
        assert len(np.unique(found[beyond], axis=0)) == 1
        places.add((top, left))
    assert len(places) > 4
