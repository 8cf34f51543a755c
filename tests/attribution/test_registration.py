"""Where an image lies in a file: views of it, what they say of the file, frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.attribution import registration
from latentfp.attribution.orientation import orientations, turned
from latentfp.attribution.registration import Window
from latentfp.augment import damage
from latentfp.augment.damage import Damage
from latentfp.augment.geometry import warp

SIDE = 64


def window(degrees=0.0, scale=1.0, shift=(0.0, 0.0)):
    return Window(np.array([degrees]), np.array([scale]), np.array([shift]))


@pytest.mark.parametrize(
    "seen",
    [window(-45.0, 0.78), window(0.0, 0.6, (0.1, -0.05)), window(-45.0, 0.6, (0.1, 0.02))],
    ids=["turned", "moved", "both"],
)
@pytest.mark.parametrize(
    "made", [Damage(degrees=50.0), Damage(degrees=-10.0, scale=1.4, down=0.03)], ids=["turned", "small"]
)
def test_what_is_read_in_a_window_says_what_befell_the_file(made, seen):
    """Of a slope of grey, bilinear interpolation is exact: a window of the file is one of the image."""
    down, right = np.meshgrid(*[np.linspace(-0.5, 0.5, SIDE)] * 2, indexing="ij")
    image = np.stack([down, right, down + right], axis=2).astype(np.float32)
    geometry = {"degrees": made.degrees, "scale": made.scale, "shift": (made.down, made.right)}
    files = np.asarray(warp(jnp.asarray(image), **geometry))[None]
    looked = registration.shown(files, seen)[0]
    # The reading that explains it: where in the image the pixels in the middle of the window lie.
    middle = slice(SIDE // 2 - 4, SIDE // 2 + 4)
    places = looked[middle, middle, :2]
    by_row, by_column = (np.diff(places, axis=axis).mean(axis=(0, 1)) * (SIDE - 1) for axis in (0, 1))
    read = Damage(
        degrees=np.rad2deg(np.arctan2(by_column[0], by_row[0])),
        scale=np.hypot(by_row[0], by_column[0]),
        down=places[..., 0].mean() * (SIDE - 1) / SIDE,
        right=places[..., 1].mean() * (SIDE - 1) / SIDE,
    )
    found = registration.in_file(np.asarray(damage.coordinates(read))[None], seen)[0]
    np.testing.assert_allclose(found, damage.coordinates(made), atol=0.02)


def test_the_first_view_is_the_file_itself():
    files = np.random.default_rng(1).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    views = list(registration.views(files))
    assert len(views) == 8 * 2
    np.testing.assert_array_equal(registration.shown(views[0].files, views[0].window), files)
    for number, way in enumerate(orientations(16, 16)):
        first, eighth = (view for view in views if view.orientation == number)
        assert first.mirrored == way.mirrored
        np.testing.assert_array_equal(turned(registration.shown(first.files, first.window), way), files)
        assert set(eighth.window.degrees) == {-45.0}


def test_a_turned_image_stands_upright_in_a_view():
    image = jax.image.resize(np.random.default_rng(2).uniform(-1, 1, (4, 4, 3)), (SIDE, SIDE, 3), "cubic")
    file = np.asarray(warp(image, degrees=45.0), np.float32)[None]
    expected = np.asarray(warp(image, scale=registration.PART))
    inside = slice(SIDE // 4, -SIDE // 4)
    off = [
        np.abs(registration.shown(view.files, view.window)[0] - expected)[inside, inside].max()
        for view in registration.views(file)
    ]
    assert np.argmin(off) == 1
    assert off[1] < 0.1 < min(off[:1] + off[2:])


class TestFrames:
    def files(self, *, inner, noise=0.0):
        random = np.random.default_rng(3)
        files = np.empty((1, 20, 20, 3), np.float32)
        files[:] = np.array([0.3, -0.6, 0.9]) + random.uniform(-noise, noise, (1, 20, 20, 3))
        files[0, inner[0], inner[1]] = random.uniform(-1, 1, files[0, inner[0], inner[1]].shape)
        return files

    def test_lines_of_one_colour_are_one(self):
        frame, inside = registration.framed(self.files(inner=(slice(2, 17), slice(4, 19))))
        expected = np.ones((1, 20, 20), bool)
        expected[0, 2:17, 4:19] = False
        np.testing.assert_array_equal(frame, expected)
        np.testing.assert_allclose(inside.scale, 15 / 20)
        np.testing.assert_allclose(inside.shift[0], [(9.5 - 10) / 20, (11.5 - 10) / 20])
        shown = registration.views(self.files(inner=(slice(2, 17), slice(4, 19))))
        assert [view.frame.any() for view in shown] == [False, False, True] * 8

    def test_codecs_may_move_its_colour_a_little(self):
        inner = (slice(3, 17), slice(3, 17))
        assert registration.framed(self.files(inner=inner, noise=0.03))[0].mean() == 1 - 14**2 / 20**2
        assert not registration.framed(self.files(inner=inner, noise=0.4))[0].any()

    def test_a_line_of_one_colour_within_the_image_is_none_of_it(self):
        files = self.files(inner=(slice(2, 20), slice(0, 20)))
        files[0, 4] = 0.25
        frame, _ = registration.framed(files)
        assert frame[0, :2].all()
        assert not frame[0, 2:].any()

    def test_it_is_a_third_of_a_side_at_most(self):
        flat = np.zeros((1, 21, 21, 3), np.float32)
        frame, inside = registration.framed(flat)
        assert (~frame).sum() == 7**2
        np.testing.assert_allclose(inside.scale, 1 / 3)
