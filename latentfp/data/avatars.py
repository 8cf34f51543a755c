"""Cartoon avatars, drawn on the spot: image data that everyone can have, without downloading any.

The package dicebear-styles defines the styles, each under the licence that its author chose: `licence` says
which. Image i of a style is a function of (style, i) alone, the seed of the drawing being the text "style/i".
So any number of processes draws the same images, and the splits are ranges of indices. A style combines a
finite number of parts: a few of its images come twice (0.3 % of 50 000 of toon_head, at 32 × 32), also in two
splits. The background is plain white.
"""

import functools
import io
import json
import multiprocessing
import os
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from latentfp.runtime.progress import track

Avatar = UInt8[np.ndarray, "size size 3"]  # types.Pixels imports JAX, which would slow every worker down

# All under CC BY 4.0 or CC0 1.0. The first is the default; the others serve as images of another origin.
STYLES = (
    "toon_head",
    "adventurer",
    "big_smile",
    "lorelei",
    "micah",
    "notionists",
    "open_peeps",
    "personas",
)
SPLITS = {"train": range(50_000), "validation": range(50_000, 55_000), "test": range(55_000, 60_000)}

SIZE = 64  # of the images in the data set
OVERSAMPLING = 2  # rendered so many times larger, then averaged: the rasteriser alone loses thin strokes
CHUNK = 64  # images per task of a worker process


def check(style: str) -> None:
    """ValueError unless `style` is one of STYLES."""
    if style not in STYLES:
        raise ValueError(f"no avatar style {style!r}: choose one of {', '.join(STYLES)}")


def licence(style: str) -> dict[str, str]:
    """Whose work a style is: title, author, author_url, source_url, licence, licence_url, notice to show."""
    meta = _definition(style)["meta"]
    return {
        "title": meta["source"]["name"],
        "author": meta["creator"]["name"],
        "author_url": meta["creator"]["url"],
        "source_url": meta["source"]["url"],
        "licence": meta["license"]["name"],
        "licence_url": meta["license"]["url"],
        "notice": meta["license"]["text"],
    }


def shrink(pixels: UInt8[np.ndarray, "b h h 3"], size: int) -> UInt8[np.ndarray, "b s s 3"]:
    """Average blocks so that images become `size` × `size`, a divisor of the present; halves round up."""
    batch, height = pixels.shape[:2]
    if size < 1 or height % size:
        raise ValueError(f"got size {size} for {height} x {height} images: choose a divisor of {height}")
    block = height // size
    if block == 1:
        return pixels
    totals = pixels.reshape(batch, size, block, size, block, 3).sum(axis=(2, 4), dtype=np.uint32)
    return ((totals + block**2 // 2) // block**2).astype(np.uint8)


def render(style: str, index: int, *, size: int = SIZE) -> Avatar:
    """Avatar number `index` (0 or more) of a style: opaque sRGB, uint8 [size size 3]."""
    import dicebear
    import resvg_py

    if index < 0 or size < 1:
        raise ValueError(f"got index {index} and size {size}: an index is 0 or more, a size 1 or more")
    svg = dicebear.Avatar(_drawing(style), {"seed": f"{style}/{index}"}).to_string()
    side = size * OVERSAMPLING
    png = resvg_py.svg_to_bytes(svg, width=side, height=side, background="#ffffff", skip_system_fonts=True)
    return shrink(np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))[None], size)[0]


def render_many(
    style: str, indices: Sequence[int], *, size: int = SIZE, workers: int | None = None
) -> UInt8[np.ndarray, "n size size 3"]:
    """Avatars number `indices` in that order, with a progress bar. `workers`: see `render_each`."""
    images = list(render_each(style, indices, size=size, workers=workers))
    return np.array(images, np.uint8).reshape(-1, size, size, 3)


def render_each(
    style: str | Sequence[str], indices: Sequence[int], *, size: int = SIZE, workers: int | None = None
) -> Generator[Avatar, None, None]:
    """Avatars number `indices`, of one style or of one each, one after the other, with a progress bar.

    `workers` processes share the work (default: one for each processor); with one, or for few images, this
    process does it. They are spawned, so a script that calls this needs `if __name__ == "__main__":`.
    """
    styles = [style] * len(indices) if isinstance(style, str) else style
    named = sorted({style} if isinstance(style, str) else set(styles))
    for name in named:
        check(name)
    workers = min(workers or os.cpu_count() or 1, -(-len(indices) // CHUNK))
    given = (functools.partial(render, size=size), styles, map(int, indices))
    with ExitStack() as stack:
        if workers <= 1:
            images = map(*given)
        else:
            pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
            stack.callback(pool.shutdown, cancel_futures=True)  # who stops early does not wait for the rest
            images = pool.map(*given, chunksize=CHUNK)
        yield from track(images, f"drawing {', '.join(named)}", len(indices))


@functools.cache
def _definition(style: str) -> dict[str, Any]:
    check(style)
    return json.loads(files("dicebear_styles").joinpath(f"{style.replace('_', '-')}.json").read_text("utf-8"))


@functools.cache
def _drawing(style: str) -> Any:
    import dicebear

    return dicebear.Style(_definition(style))
