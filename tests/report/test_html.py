"""The parts of a page, read back: drawings as XML, images as pixels."""

import base64
import io
import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from latentfp.report.html import badge, difference, picture, spectrum, strip, table, whisker


def paths(svg: str) -> dict[str, list[str]]:
    """The strokes of every layer."""
    found = ElementTree.fromstring(svg).iter("path")
    return {path.attrib["class"]: path.attrib["d"].split("M")[1:] for path in found}


def heights(strokes: list[str]) -> list[float]:
    return [float(re.search(r"v(-?[\d.]+)", stroke)[1]) for stroke in strokes]  # type: ignore[index]


def test_bars_point_to_their_bit_and_wrong_ones_are_framed():
    layers = paths(strip([0.9, 0.1, 0.2, 0.8, 0.5], "10110", label="five bits"))
    # the third says 0 against 1, the fourth agrees, the last is undecided and counts as 0
    assert heights(layers["bar"]) == pytest.approx([-7.2, 7.2, -5.4, 0.0])
    assert heights(layers["bar wrong"]) == pytest.approx([5.4])
    assert len(layers["cell"]) == 1
    assert layers["cell"][0].startswith("20 0")
    ticks = [float(stroke.split()[1].split("h")[0]) for stroke in layers["tick"]]
    assert [tick < 14 for tick in ticks] == [True, False, True, True, False]


def test_certain_bars_stay_between_the_ticks():
    layers = paths(strip([1.0, 0.0], "10", label=""))
    assert heights(layers["bar"]) == [-9, 9]  # from the middle, 14: ticks end at 3 and begin at 25


def test_without_a_code_nothing_is_wrong():
    layers = paths(strip([0.9] * 3, None, label=""))
    assert set(layers) == {"bar", "middle"}


def test_a_gap_after_every_eighth():
    svg = strip([0.9] * 64, None, label="")
    assert 'viewBox="0 0 675 28"' in svg
    starts = [float(stroke.split()[0]) for stroke in paths(svg)["bar"]]
    assert [b - a for a, b in pairwise(starts[6:10])] == [10, 15, 10]


def points(svg: str) -> list[tuple[float, ...]]:
    line = ElementTree.fromstring(svg).find("polyline")
    assert line is not None
    return [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]


def test_spectrum_is_logarithmic_and_evenly_spaced():
    curve = points(spectrum([100.0, 10.0, 1.0, 0.1], shift=1, bits=2, sigma=1.0, label=""))
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(curve)]
    assert all(step == pytest.approx(steps[0], abs=0.21) for step in steps)  # points are printed to 0.1
    assert min(steps[0]) > 0


def test_spectrum_marks_strength_and_axes():
    svg = spectrum([8.0, 4.0, 2.0, 1.0], shift=1, bits=2, sigma=2.0, label="")
    curve, tree = points(svg), ElementTree.fromstring(svg)
    line = tree.find("line[@class='sigma']")
    band = tree.find("rect")
    assert line is not None
    assert band is not None
    assert float(line.attrib["y1"]) == curve[2][1]
    start, width = float(band.attrib["x"]), float(band.attrib["width"])
    assert [start < x < start + width for x, _ in curve] == [False, True, True, False]
    assert "axes 1 … 2" in svg


@pytest.mark.parametrize("stds", [[1.0], [1.0, 0.0], [5.0] * 3, [1e3, 1e-30], [0.5] * 1000])
@pytest.mark.parametrize("sigma", [1e-9, 1.0, 1e6])
def test_spectrum_stays_inside(stds, sigma):
    curve = points(spectrum(stds, shift=0, bits=1, sigma=sigma, label=""))
    assert all(0 < x < 960 for x, _ in curve)
    assert all(0 < y <= 340 for _, y in curve)


def test_whisker():
    tree = ElementTree.fromstring(whisker(0.5, [0.25, 1.0], label=""))
    dot, line = tree.find("circle"), tree.find("path[@class='range']")
    assert dot is not None
    assert line is not None
    assert float(dot.attrib["cx"]) == 60
    assert line.attrib["d"] == "M32.0 8H116.0"


@pytest.mark.parametrize(
    "draw",
    [
        lambda label: strip([0.3], "1", label=label),
        lambda label: spectrum([1.0], shift=0, bits=1, sigma=1.0, label=label),
        lambda label: whisker(0.5, [0.0, 1.0], label=label),
    ],
)
def test_labels_are_read_aloud_and_escaped(draw):
    label = '"><script>&'
    tree = ElementTree.fromstring(draw(label))
    assert tree.attrib["aria-label"] == label
    assert tree.attrib["role"] == "img"


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


def test_tables_and_badges():
    shown = ElementTree.fromstring(table(("a", "b"), [["1", "<b>2</b>"]], kind="k", named=True))
    assert [cell.text for cell in shown.iter("th")] == ["a", "b", "1"]
    assert [cell.attrib.get("scope") for cell in shown.iter("th")] == ["col", "col", "row"]
    assert shown.find("table/tbody/tr/td/b") is not None
    assert ElementTree.fromstring(table((), [["1", "2"]])).find("table/thead") is None
    mark = ElementTree.fromstring(badge("wrong", "✗", "<script>"))
    assert "".join(mark.itertext()) == "✗wrong: <script>"
