"""A folder of images of all sorts, as TFDS stores it."""

import logging
import os
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentfp.data.datasets import Records, folder_builder, prepare
from latentfp.data.files import square

RANDOM = np.random.default_rng(2304)
COLOUR = RANDOM.integers(64, 192, (16, 24, 3), np.uint8)  # so that no overshoot of the filter is clipped
GREY = RANDOM.integers(64, 192, (16, 16), np.uint8)
CAMERA = np.kron(RANDOM.integers(64, 192, (4, 2, 3)), np.ones((8, 8, 1))).astype(np.uint8)
ORIENTATION = 0x0112


@pytest.fixture
def photos(tmp_path):
    """Six image files of which one is broken and one too small, and two files of other kinds."""
    folder = tmp_path / "my photos"
    (folder / "deep" / "er").mkdir(parents=True)
    Image.fromarray(COLOUR).save(folder / "a colour.png")
    Image.fromarray(GREY).save(folder / "deep" / "b grey.png")
    Image.fromarray(np.dstack([COLOUR, np.full((16, 24), 255, np.uint8)])).save(
        folder / "deep" / "c alpha.webp", lossless=True
    )
    turned = Image.Exif()
    turned[ORIENTATION] = 6  # to be turned clockwise by a quarter
    Image.fromarray(CAMERA).save(
        folder / "deep" / "er" / "d camera.JPEG", exif=turned, quality=100, subsampling=0
    )
    (folder / "deep" / "e broken.jpg").write_bytes((folder / "a colour.png").read_bytes()[:200])
    Image.fromarray(GREY[:4]).save(folder / "f small.png")
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_bytes(b"not one to read either")
    return folder


def stored(folder, data_dir, size=8):
    """The images by file name, through TFDS."""
    builder: Any = folder_builder(folder, size=size, data_dir=data_dir)
    prepare(builder)
    files = [os.fsdecode(row["file"]) for row in builder.as_data_source("train")]
    return dict(zip(files, Records(builder, "train").images(np.arange(len(files))), strict=True))


def lanczos(pixels, size):
    """A square image resampled with the windowed sinc of three lobes, stretched by the reduction; float64."""
    side = len(pixels)
    outputs, inputs = (np.arange(size) + 0.5) * side / size, np.arange(side) + 0.5
    x = (inputs[None, :] - outputs[:, None]) * size / side
    weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum("yi,xj,ijc->yxc", weights, weights, pixels.astype(np.float64))


def test_every_readable_file_is_stored_upright_square_and_in_colour(photos, tmp_path):
    images = stored(photos, tmp_path)
    assert sorted(images) == ["a colour.png", "deep/b grey.png", "deep/c alpha.webp", "deep/er/d camera.JPEG"]
    expected = {
        "a colour.png": COLOUR[:, 4:20],
        "deep/b grey.png": np.repeat(GREY[..., None], 3, axis=2),
        "deep/c alpha.webp": COLOUR[:, 4:20],
    }
    for name, image in expected.items():
        # Pillow rounds after rows (1/2, times at most 1.5, the sum of absolute weights) and after columns
        assert np.abs(images[name] - lanczos(image, 8)).max() <= 1.25


def test_a_camera_image_is_turned_upright(photos, tmp_path):
    upright = np.rot90(CAMERA, -1)[:, 8:24]
    image = stored(photos, tmp_path)["deep/er/d camera.JPEG"].astype(float)
    # blocks of one colour survive JPEG at quality 100 to a few levels; a wrong turn is off by tens
    assert np.abs(image - lanczos(upright, 8)).max() <= 6


def test_files_left_out_are_named_and_counted(photos, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        stored(photos, tmp_path)
    passed, report = (
        next(record.getMessage() for record in caplog.records if record.name == name)
        for name in ("latentfp.data.files", "root")
    )
    assert report.startswith("2 of 6 files are left out")
    assert "e broken.jpg" in report
    assert "f small.png: 16 x 4 pixels, too small for 8 x 8" in report
    assert passed.endswith("passed over 1 that are no image files (1 .txt)")


def test_a_changed_folder_is_another_data_set(photos, tmp_path):
    assert len(stored(photos, tmp_path)) == 4
    Image.fromarray(COLOUR).save(photos / "new.png")
    assert "new.png" in stored(photos, tmp_path)
    assert len(stored(photos, tmp_path, size=4)) == 6  # and so is another size, for which none is too small


def test_any_ratio_of_sizes(tmp_path):
    Image.fromarray(COLOUR[:, :16]).save(tmp_path / "image.png")
    assert np.abs(square(tmp_path / "image.png", 7) - lanczos(COLOUR[:, :16], 7)).max() <= 1.25
    np.testing.assert_array_equal(square(tmp_path / "image.png", 16), COLOUR[:, :16])


def test_a_name_that_is_not_unicode(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    odd = os.fsencode(folder) + b"/caf\xe9.png"
    Image.fromarray(GREY).save(folder / "x.png")
    os.rename(folder / "x.png", odd)
    assert list(stored(folder, tmp_path)) == [os.fsdecode(b"caf\xe9.png")]


def test_a_folder_without_images(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(ValueError, match=r"no image files below .*: expected PNG"):
        folder_builder(tmp_path, size=8, data_dir=tmp_path)


def test_a_folder_without_a_readable_image(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"nope")
    with pytest.raises(ValueError, match=r"no usable image below .*(?s:.*)1 of 1 .*(?s:.*)broken\.png"):
        stored(tmp_path, tmp_path / "data")


@pytest.mark.parametrize("name", ["nowhere", "file.txt"])
def test_what_is_no_folder(tmp_path, name):
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(ValueError, match=r"no folder .*: name a folder of images, or avatars"):
        folder_builder(tmp_path / name, size=8, data_dir=tmp_path)


def test_a_size_below_one(photos, tmp_path):
    with pytest.raises(ValueError, match="size 0, expected at least 1"):
        folder_builder(photos, size=0, data_dir=tmp_path)
