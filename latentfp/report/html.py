"""The parts of an HTML page: its template, tables, numbers, badges, inline drawings, and images as data URIs.

A page needs nothing else and runs nothing: images are inside it as PNG, drawings as SVG, and its head forbids
the browser to fetch anything. Colours are left to the style sheet (classes `bar`, `wrong`, `tick` …), so that
drawings follow light and dark; nothing is told by colour alone.

Small images are enlarged by a whole number, each pixel a crisp square; large ones are shrunk by the browser.
The difference of two images is mid-grey plus ten times the difference of their pixels,

    128 + 10 (marked - plain), limited to 0 … 255,

so a change of 13 of 255 levels is already white or black.
"""

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template

import numpy as np
from PIL import Image

from latentfp.types import Pixels

PITCH, BYTE_GAP = 10, 5  # of the cells of a strip, and the extra gap after every eighth
MIDDLE, REACH = 14, 9  # of the bars of a strip
WIDTH, HEIGHT = 960, 340  # of the spectrum
LEFT, RIGHT, TOP, BASE = 58, 944, 26, 296  # the edges of its plot
GAIN = 10  # of the difference of two images
SHOWN = 128  # side of an image on the page, in CSS pixels, or just above


def filled(template: str, *, title: str, **parts: object) -> str:
    """A template of this folder with its parts, which are HTML, and the head that all pages share."""
    head = Template(_read("head.html")).substitute(title=title, style=_read("style.css"))
    return Template(_read(template)).substitute(head=head, title=title, **parts)


def _read(name: str) -> str:
    return files("latentfp.report").joinpath(name).read_text(encoding="utf-8")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "", named: bool = False) -> str:
    """A table of cells that are HTML. `named`: the first cell of a row is its name."""
    titles = "".join(f"<th scope='col'>{title}</th>" for title in head)
    body = "".join(f"<tr>{_cells(row, named)}</tr>" for row in rows)
    opening = f"<table class='{kind}'>" if kind else "<table>"
    above = f"<thead><tr>{titles}</tr></thead>" if head else ""
    return f"<div class='wide'>{opening}{above}<tbody>{body}</tbody></table></div>"


def _cells(row: Sequence[str], named: bool) -> str:
    first = f"<th scope='row'>{row[0]}</th>" if named else ""
    return first + "".join(f"<td>{cell}</td>" for cell in row[named:])


def terms(values: Mapping[str, str]) -> str:
    """Names with their values, which are HTML, as entries of a <dl>."""
    return "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in values.items())


def power_of_ten(value: float) -> str:
    """A number of two digits as HTML, with a power of ten below 0.01 and from 10 000 on."""
    if value == 0 or 0.01 <= abs(value) < 10_000:
        return f"{value:.2g}" if value < 100 else f"{value:.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    factor = "" if mantissa == "1.0" else f"{mantissa.removesuffix('.0')} × "
    return f"{factor}10<sup>{int(exponent)}</sup>".replace("<sup>-", "<sup>−")


def badge(kind: str, sign: str, words: str) -> str:
    """A verdict as a mark, a word and a colour. `kind`: right, wrong, missed or unreadable."""
    return (
        f"<span class='badge {kind}' title='{kind}: {escape(words)}'><i aria-hidden='true'>{sign}</i>"
        f"<span class='spoken'>{kind}: </span>{escape(words)}</span>"
    )


def side_by_side(panels: Mapping[str, str]) -> str:
    """Images with the captions that they are keyed by."""
    shown = "".join(f"<div>{image}<small>{caption}</small></div>" for caption, image in panels.items())
    return f"<div class='three'>{shown}</div>"


def strip(confidence: Sequence[float], code: str | None, *, label: str) -> str:
    """P(bit = 1) of every bit, as bars from the middle: up for 1, down for 0, full length for certainty.

    Where `code` is given, in 0 and 1, a tick at the upper or lower edge is the true bit, and a bar that
    points away from its tick stands in a frame.
    """
    bars, wrong, ticks, cells = [], [], [], []
    for i, chance in enumerate(confidence):
        x = PITCH * i + BYTE_GAP * (i // 8)
        one, truth = chance > 0.5, code and code[i] == "1"
        is_wrong = code is not None and one != truth
        bar = f"M{x + 2} {MIDDLE}h6v{-REACH * (2 * chance - 1):.2f}h-6z"
        (wrong if is_wrong else bars).append(bar)
        if is_wrong:
            cells.append(f"M{x} 0h{PITCH}v{2 * MIDDLE}h-{PITCH}z")
        if code is not None:
            ticks.append(f"M{x + 2} {1 if truth else 2 * MIDDLE - 3}h6v2h-6z")
    width = PITCH * len(confidence) + BYTE_GAP * ((len(confidence) - 1) // 8)
    middle = f"M0 {MIDDLE}h{width}"
    layers = {"cell": cells, "bar": bars, "bar wrong": wrong, "tick": ticks, "middle": [middle]}
    body = "".join(f'<path class="{name}" d="{"".join(path)}"/>' for name, path in layers.items() if path)
    return _svg("strip", width, 2 * MIDDLE, label, body, fit="none")


def spectrum(stds: Sequence[float], *, shift: int, bits: int, sigma: float, label: str) -> str:
    """Standard deviation of every principal axis, on a logarithmic scale; the fingerprint's axes are shaded.

    The dashed line is the strength `sigma`. Axes without any spread lie on the lower edge.
    """
    positive = [std for std in stds if std > 0]
    floor = max(min(positive), max(positive) * 1e-6)
    low = math.floor(math.log10(min(floor, sigma)))
    high = math.ceil(math.log10(max(*positive, sigma)) + 1e-9)
    count = len(stds)

    def x(axis: int | float) -> float:
        return LEFT + (RIGHT - LEFT) * axis / count

    def y(std: float) -> float:
        exponent = math.log10(max(std, 10.0**low))
        return TOP + (BASE - TOP) * (high - exponent) / (high - low)

    points = " ".join(f"{x(i + 0.5):.1f},{y(std):.1f}" for i, std in enumerate(stds))
    start, end = x(shift), x(shift + bits)
    anchor, place = ("end", end - 6) if (start + end) / 2 > WIDTH / 2 else ("start", start + 6)
    body = [
        f'<rect class="band" x="{start:.1f}" y="{TOP}" width="{end - start:.1f}" height="{BASE - TOP}"/>',
        *(
            f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y(std):.1f}" y2="{y(std):.1f}"/>'
            f'<text x="{LEFT - 8}" y="{y(std) + 4:.1f}" text-anchor="end">{std:g}</text>'
            for std in (10.0**decade for decade in range(low, high + 1))
        ),
        *(
            f'<text x="{x(axis + 0.5):.1f}" y="{BASE + 18}" text-anchor="middle">{axis}</text>'
            for axis in range(0, count, 2 ** max(0, math.ceil(math.log2(count / 8))))  # about eight
        ),
        f'<polyline class="curve" points="{points}"/>',
        f'<line class="sigma" x1="{LEFT}" x2="{RIGHT}" y1="{y(sigma):.1f}" y2="{y(sigma):.1f}"/>',
        f'<text class="name" x="{LEFT + 8}" y="{y(sigma) - 7:.1f}">strength σ = {sigma:g}</text>',
        f'<text class="name" x="{place:.1f}" y="{TOP - 9}" text-anchor="{anchor}">'
        f"fingerprint: axes {shift} … {shift + bits - 1}</text>",
        f'<text x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">principal axis</text>',
    ]
    return _svg("spectrum", WIDTH, HEIGHT, label, "".join(body))


def whisker(share: float, interval: Sequence[float], *, label: str) -> str:
    """A share of 0 … 1 as a dot, and its interval as a line."""
    low, high = (4 + 112 * end for end in interval)
    body = (
        '<path class="middle" d="M4 8h112M4 5v6M116 5v6"/>'
        f'<path class="range" d="M{low:.1f} 8H{high:.1f}"/>'
        f'<circle class="dot" cx="{4 + 112 * share:.1f}" cy="8" r="3.5"/>'
    )
    return _svg("whisker", 120, 16, label, body)


def _svg(kind: str, width: int, height: int, label: str, body: str, *, fit: str = "xMidYMid") -> str:
    box = f'viewBox="0 0 {width} {height}" preserveAspectRatio="{fit}"'
    return f'<svg class="{kind}" {box} role="img" aria-label="{escape(label)}">{body}</svg>'


def difference(marked: Pixels, plain: Pixels) -> Pixels:
    """128 + 10 (marked - plain), limited to the 8 bits of a pixel."""
    change = marked.astype(np.int32) - plain
    return np.clip(128 + GAIN * change, 0, 255).astype(np.uint8)


def picture(pixels: Pixels, *, alt: str) -> str:
    """The <img> that carries these pixels."""
    height, width = pixels.shape[:2]
    enlarged = max(1, round(SHOWN / width))
    shown = width * enlarged if width <= SHOWN else SHOWN
    crisp = ' class="crisp"' if enlarged > 1 else ""
    size = f'width="{shown}" height="{round(shown * height / width)}"'
    return f'<img src="{_data_uri(pixels)}" alt="{escape(alt)}" {size}{crisp}>'


def _data_uri(pixels: Pixels) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
