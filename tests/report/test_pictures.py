"""Images inside a page: the same pixels, only from inside the folder."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from latentfp.report.pictures import Album, difference, picture


def random_pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def carried(img: str) -> np.ndarray:
    data = re.search(r'src="data:image/png;base64,([^"]+)"', img)
    assert data is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))))


def test_difference():
    plain = random_pixels(5, 7)
    marked = random_pixels(5, 7, seed=1)
    expected = np.empty(plain.shape)
    for place in np.ndindex(plain.shape):
        expected[place] = min(255, max(0, 128 + 10 * (int(marked[place]) - int(plain[place]))))
    np.testing.assert_array_equal(difference(marked, plain), expected)
    assert np.all(difference(plain, plain) == 128)


@pytest.mark.parametrize(
    ("height", "width", "shown", "crisp"),
    [
        (32, 32, (128, 128), True),
        (64, 64, (128, 128), True),
        (40, 64, (128, 80), True),
        (100, 100, (100, 100), False),
        (128, 128, (128, 128), False),
        (256, 256, (128, 128), False),
        (512, 256, (128, 256), False),
        (1, 1, (128, 128), True),
    ],
)
def test_small_ones_are_enlarged_by_whole_numbers(height, width, shown, crisp):
    img = picture(random_pixels(height, width), alt="")
    assert f'width="{shown[0]}" height="{shown[1]}"' in img
    assert ("crisp" in img) == crisp


def test_pixels_and_alternative_text():
    pixels = random_pixels(9, 8)
    img = picture(pixels, alt='"<b>&')
    np.testing.assert_array_equal(carried(img), pixels)
    assert 'alt="&quot;&lt;b&gt;&amp;"' in img


def test_album(tmp_path):
    for name in ("a", "b"):
        Image.fromarray(random_pixels(8, 8, seed=ord(name))).save(tmp_path / f"{name}.png")
    album = Album(tmp_path)
    np.testing.assert_array_equal(carried(album.image("a.png", alt="")), random_pixels(8, 8, seed=97))
    expected = difference(random_pixels(8, 8, seed=97), random_pixels(8, 8, seed=98))
    np.testing.assert_array_equal(carried(album.difference("a.png", "b.png", alt="")), expected)


def test_nothing_from_outside(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    Image.fromarray(random_pixels(8, 8)).save(tmp_path / "secret.png")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    for path in ("../secret.png", str(tmp_path / "secret.png"), "link.png"):
        with pytest.raises(ValueError, match="expected a relative path that stays inside"):
            Album(inside).pixels(path)


def test_images_of_two_shapes(tmp_path):
    Image.fromarray(random_pixels(8, 8)).save(tmp_path / "a.png")
    Image.fromarray(random_pixels(8, 9)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="expected one shape"):
        Album(tmp_path).difference("a.png", "b.png", alt="")
