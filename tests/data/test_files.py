"""Pixels survive the way to a file and back, folders are expanded, and a failed write leaves nothing."""

import os
import stat

import numpy as np
import pytest
from PIL import Image

from latentfp.data.files import UnreadableImage, find_images, read_image, read_images, write_image
from latentfp.pixels import to_float, to_pixels

HEIGHT, WIDTH = 24, 32
SIZE = (HEIGHT, WIDTH)


def picture(seed=0, height=HEIGHT, width=WIDTH):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_bad_file_does_not_stop_the_others(tmp_path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    write_image(good, picture())
    bad.write_bytes(b"")
    results = list(read_images([bad, good, tmp_path / "none.png", good], size=SIZE))
    assert [path for path, _ in results] == [bad, good, tmp_path / "none.png", good]
    assert [isinstance(result, UnreadableImage) for _, result in results] == [True, False, True, False]
    np.testing.assert_array_equal(results[3][1], picture())


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.webp"])
def test_lossless_round_trip(name, tmp_path):
    write_image(tmp_path / name, picture())
    pixels = read_image(tmp_path / name, size=SIZE)
    np.testing.assert_array_equal(pixels, picture())
    assert pixels.flags.writeable
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_float_image_comes_back_rounded_to_8_bits(tmp_path):
    image = np.random.default_rng(3).uniform(-1.3, 1.3, (HEIGHT, WIDTH, 3)).astype(np.float32)
    write_image(tmp_path / "a.png", to_pixels(image))
    back = to_float(read_image(tmp_path / "a.png", size=SIZE))
    expected = np.round((np.clip(image.astype(np.float64), -1, 1) + 1) * 127.5) / 127.5 - 1
    # float32 keeps 127.5 (x + 1) to 2e-5, so a value so near to a half may round either way; none does
    np.testing.assert_allclose(back, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.webp"])
def test_quality_trades_size_for_error(name, tmp_path):
    smooth = np.asarray(Image.fromarray(picture(0, 4, 4)).resize((64, 64), Image.Resampling.BICUBIC))
    path, sizes, errors = tmp_path / name, [], []
    for quality in (10, 50, 90):
        write_image(path, smooth, quality=quality)
        sizes.append(path.stat().st_size)
        errors.append(np.abs(read_image(path, size=(64, 64)) - smooth.astype(int)).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


def test_default_jpeg_quality_is_95(tmp_path):
    write_image(tmp_path / "a.jpg", picture())
    write_image(tmp_path / "b.jpg", picture(), quality=95)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


@pytest.mark.parametrize(
    ("name", "quality", "message"),
    [
        ("a.tiff", None, "not written as '.tiff', expected one of .png, .jpg, .jpeg, .webp"),
        ("a", None, "not written as ''"),
        ("a.png", 90, "PNG is lossless and takes no quality"),
        ("a.jpg", 0, "quality 0 is outside 1 … 100"),
        ("a.webp", 101, "quality 101 is outside 1 … 100"),
    ],
)
def test_the_writer_refuses(name, quality, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_image(tmp_path / name, picture(), quality=quality)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_image(path, picture())

    def fills_the_disk(_image, file, **_options):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fills_the_disk)
    with pytest.raises(OSError, match="No space"):
        write_image(path, picture(1))
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(read_image(path, size=SIZE), picture())


def test_resizing_only_when_asked(tmp_path):
    columns = np.zeros((40, 60, 3), dtype=np.uint8)
    columns[:, ::2] = 255
    write_image(tmp_path / "a.png", columns)
    with pytest.raises(UnreadableImage, match="60 x 40 pixels, expected 32 x 24"):
        read_image(tmp_path / "a.png", size=SIZE)
    resized = read_image(tmp_path / "a.png", size=(20, 15), resize=True)
    assert resized.shape == (20, 15, 3)
    # antialiased: every second column white is grey at a quarter of the width, the ripple below 5 %
    np.testing.assert_allclose(resized[:, 2:-2], 127.5, atol=7)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", size=(40, 60), resize=True), columns)
    assert read_image(tmp_path / "a.png", size=None).shape == (40, 60, 3)
    with pytest.raises(ValueError, match="expected a height and a width of at least 1 pixel"):
        read_image(tmp_path / "a.png", size=(0, 15), resize=True)


def test_folders_are_expanded_and_sorted(tmp_path):
    for name in ("b/2.JPG", "b/1.png", "a.webp", "b/.hidden.png", ".cache/x.png", "b/notes.txt", "c/d/3.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "empty").mkdir()
    found = find_images([tmp_path, tmp_path / "b/notes.txt", tmp_path / "empty", tmp_path / "missing.png"])
    names = [str(path.relative_to(tmp_path)) for path in found]
    below = ["a.webp", "b/1.png", "b/2.JPG", "c/d/3.tif"]
    assert names == [*below, "b/notes.txt", "empty", "missing.png"]


def test_below_a_folder_the_content_counts(tmp_path, caplog):
    """And what is passed over is counted in one line."""
    kinds = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
    for kind in kinds:
        Image.fromarray(picture()).save(tmp_path / f"a {kind.lower()} of the web", kind)
    Image.fromarray(picture()).save(tmp_path / "photo.jfif", "JPEG")
    Image.fromarray(picture()).save(tmp_path / "photo.txt", "PNG")
    (tmp_path / "broken.png").write_bytes(b"")
    for name in ("notes.txt", "README", "movie.mp4", "P1 is a priority", ".DS_Store"):
        (tmp_path / name).write_text("BMW, P1 and II*\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    found = [path.name for path in find_images([tmp_path])]
    assert found == sorted(
        ["broken.png", "photo.jfif", "photo.txt", *(f"a {kind.lower()} of the web" for kind in kinds)]
    )
    passed = "1 .mp4, 1 .txt, 1 linked, 3 without suffix"
    assert caplog.messages == [f"{tmp_path}: passed over 6 that are no image files ({passed})"]


def test_a_folder_of_images_alone_says_nothing(tmp_path, caplog):
    write_image(tmp_path / "a.png", picture())
    assert find_images([tmp_path]) == [tmp_path / "a.png"]
    assert caplog.messages == []


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.png").touch()
    (tmp_path / "closed").mkdir()
    listing = os.scandir

    def forbidden(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    assert find_images([tmp_path]) == [tmp_path / "a.png", tmp_path / "closed"]
