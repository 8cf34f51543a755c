"""The codecs make files of their kind, and lose what their settings say."""

import io

import numpy as np
import pytest
from PIL import Image

from latentfp.augment.codecs import jpeg2000, libjpeg, webp


@pytest.fixture
def pixels():
    y, x = np.mgrid[:48, :64] / 48
    shading = 128 + 70 * np.stack([np.sin(5 * x + 2 * y), np.cos(4 * y), np.sin(3 * (x - y))], axis=-1)
    noise = 6 * np.random.default_rng(0).standard_normal((48, 64, 3))
    return np.clip(np.round(shading + noise), 0, 255).astype(np.uint8)


def reopened(pixels, codec, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, codec, **options)
    return len(file.getvalue()), np.asarray(Image.open(file))


def test_webp(pixels):
    for quality in (90, 50):
        np.testing.assert_array_equal(
            webp(pixels, quality=quality), reopened(pixels, "WEBP", quality=quality)[1]
        )


def test_jpeg_2000_is_as_many_times_smaller(pixels):
    for ratio in (4.0, 16.0):
        layers = {"quality_mode": "rates", "quality_layers": [ratio], "irreversible": True}
        size, expected = reopened(pixels, "JPEG2000", **layers)
        np.testing.assert_array_equal(jpeg2000(pixels, ratio=ratio), expected)
        assert size <= pixels.size / ratio + 200, "the header is 200 bytes at most"


@pytest.mark.parametrize(
    ("codec", "strengths"),
    [
        (lambda x, s: libjpeg(x, quality=s), (95, 50, 10)),
        (lambda x, s: webp(x, quality=s), (95, 50, 10)),
        (lambda x, s: jpeg2000(x, ratio=s), (2.0, 8.0, 32.0)),
    ],
)
def test_more_compression_loses_more(codec, strengths, pixels):
    lost = [np.abs(codec(pixels, strength).astype(int) - pixels).mean() for strength in strengths]
    assert 0 < lost[0] < lost[1] < lost[2] < 30


def test_impossible_settings_are_refused(pixels):
    with pytest.raises(ValueError, match="1 to 100"):
        webp(pixels, quality=0)
    with pytest.raises(ValueError, match="at least 1"):
        jpeg2000(pixels, ratio=0.5)
