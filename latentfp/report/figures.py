"""Drawings of a page: plain numbers in, one line of inline SVG out.

Colours are left to the style sheet of the page (classes `bar`, `wrong`, `tick` …), so that a drawing follows
light and dark; nothing is told by colour alone.
"""

import math
from collections.abc import Sequence
from html import escape

PITCH, BYTE_GAP = 10, 5  # of the cells of a strip, and the extra gap after every eighth
MIDDLE, REACH = 14, 9  # of the bars of a strip
WIDTH, HEIGHT = 960, 340  # of the spectrum
LEFT, RIGHT, TOP, BASE = 58, 944, 26, 296  # the edges of its plot


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
        *(_level(10.0**decade, y(10.0**decade)) for decade in range(low, high + 1)),
        *(_axis_number(axis, x(axis + 0.5)) for axis in _axis_numbers(count)),
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


def _level(value: float, y: float) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    )


def _axis_number(axis: int, x: float) -> str:
    return f'<text x="{x:.1f}" y="{BASE + 18}" text-anchor="middle">{axis}</text>'


def _axis_numbers(count: int) -> range:
    """About eight of them, a power of two apart."""
    return range(0, count, 2 ** max(0, math.ceil(math.log2(count / 8))))


def _svg(kind: str, width: int, height: int, label: str, body: str, *, fit: str = "xMidYMid") -> str:
    box = f'viewBox="0 0 {width} {height}" preserveAspectRatio="{fit}"'
    return f'<svg class="{kind}" {box} role="img" aria-label="{escape(label)}">{body}</svg>'
