"""The drawing of avatars: a function of style and index, whoever draws; and whose work the styles are."""

import io
import subprocess
import sys
import time

import numpy as np
import pytest
import resvg_py
from dicebear import Avatar
from PIL import Image

from latentfp.data import avatars
from latentfp.data.avatars import render, render_each, render_many

SCATTERED = [7, 0, 3, 3, 11, 2, 50_001, 5, 1]


def test_any_number_of_workers_draws_the_same(monkeypatch):
    monkeypatch.setattr(avatars, "CHUNK", 2)  # so that the work is shared
    alone = render_many("toon_head", SCATTERED, size=16, workers=1)
    shared = render_many("toon_head", SCATTERED, size=16, workers=3)
    np.testing.assert_array_equal(shared, alone)
    np.testing.assert_array_equal(alone, [render("toon_head", index, size=16) for index in SCATTERED])


def test_who_stops_early_does_not_wait(monkeypatch):
    monkeypatch.setattr(avatars, "CHUNK", 1)
    images = render_each("toon_head", range(20_000), workers=2)  # 8 ms each: 80 s of work
    assert next(images).shape == (64, 64, 3)
    start = time.monotonic()
    images.close()
    assert time.monotonic() - start < 20


def test_render_is_the_mean_over_a_finer_raster():
    svg = Avatar(avatars._drawing("micah"), {"seed": "micah/4"}).to_string()
    png = resvg_py.svg_to_bytes(svg, width=64, height=64, skip_system_fonts=True)
    fine = np.asarray(Image.open(io.BytesIO(png)), np.float64)
    opaque = fine[..., :3] * fine[..., 3:] / 255 + 255 - fine[..., 3:]
    mean = (opaque[::2, ::2] + opaque[1::2, ::2] + opaque[::2, 1::2] + opaque[1::2, 1::2]) / 4
    # two more roundings to 8 bits: of the stored premultiplied colour (blended by us, not by the rasteriser)
    # and of the mean
    assert np.abs(render("micah", 4, size=32) - mean).max() <= 2


@pytest.mark.parametrize("style", avatars.STYLES)
class TestEveryStyle:
    def test_images_vary_and_are_not_blank(self, style):
        images = render_many(style, range(24), workers=1)
        assert images.shape == (24, 64, 64, 3)
        assert images.dtype == np.uint8
        assert len(np.unique(images.reshape(24, -1), axis=0)) == 24
        assert images.std(axis=(1, 2, 3)).min() > 20

    def test_background_is_white(self, style):
        corners = render_many(style, range(8), workers=1)[:, 0, [0, -1]]
        np.testing.assert_array_equal(corners, 255)

    def test_licence_allows_sharing_and_names_the_author(self, style):
        licence = avatars.licence(style)
        assert licence["licence"] in {"CC BY 4.0", "CC0 1.0"}
        assert licence["licence_url"].startswith("https://creativecommons.org/")
        assert licence["author"] in licence["notice"]
        assert all(licence.values())


def test_the_default_style_and_its_author():
    assert avatars.STYLES[0] == "toon_head"
    assert avatars.licence("toon_head")["author"] == "Johan Melin"
    assert avatars.licence("toon_head")["licence"] == "CC BY 4.0"


def test_splits_are_disjoint():
    assert {split: len(indices) for split, indices in avatars.SPLITS.items()} == {
        "train": 50_000,
        "validation": 5_000,
        "test": 5_000,
    }
    assert len(set().union(*avatars.SPLITS.values())) == 60_000


@pytest.mark.parametrize("call", [render, lambda style, index: render_many(style, [index]), avatars.check])
def test_an_unknown_style_names_the_known_ones(call):
    arguments = ("toon-head",) if call is avatars.check else ("toon-head", 0)
    with pytest.raises(ValueError, match="no avatar style 'toon-head': choose one of toon_head, adventurer"):
        call(*arguments)


@pytest.mark.parametrize(("index", "size"), [(-1, 64), (0, 0)])
def test_an_index_or_size_out_of_range_is_refused(index, size):
    with pytest.raises(ValueError, match=f"index {index} and size {size}"):
        render("toon_head", index, size=size)


def test_no_images_at_all():
    assert render_many("toon_head", [], size=8).shape == (0, 8, 8, 3)


@pytest.mark.parametrize(("module", "heavy"), [("avatars", "jax"), ("pipeline", "tensorflow")])
def test_heavy_imports_wait_until_they_are_needed(module, heavy):
    code = f"import sys, latentfp.data.{module}; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
