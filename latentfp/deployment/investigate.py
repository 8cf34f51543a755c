"""From image files to verdicts: read, estimate, judge.

Files go in groups, so that the early ones are answered while the later ones wait.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from latentfp.attribution.estimate import Estimate, Status
from latentfp.attribution.verdict import ALPHA, judge
from latentfp.data.files import Size, StrPath, UnreadableImage, read_images
from latentfp.deployment.methods import Estimator
from latentfp.deployment.registry import Registry
from latentfp.pixels import to_float

GROUP = 64  # files between two answers


class Finding(NamedTuple):
    """The answer for one file; `logits` are the code's (positive: 1), None where nothing was estimated.

    `seconds` is the file's share of its group's time. `status`: "ok", "nonfinite", or why the file was not
    read.
    """

    file: str
    verdict: Literal["user", "none", "unreadable"]
    user: str | None
    matched_bits: int | None
    bits: int
    p_value: float | None
    status: str
    seconds: float
    logits: Float[np.ndarray, " k"] | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields of `latentfp attribute --json`."""
        return {name: value for name, value in self._asdict().items() if name != "logits"}


def investigate(
    paths: Sequence[StrPath],
    registry: Registry,
    estimate: Estimator,
    *,
    size: Size,
    alpha: float = ALPHA,
    resize: bool = False,
) -> Iterator[Finding]:
    """A finding for each of `paths`, in their order. ValueError: no users, or an `alpha` out of reach.

    `size` (height, width) is the generator's; other files are refused, or resampled with `resize`.
    """
    names, book = registry.codes()
    for first in range(0, len(paths), GROUP):
        read = list(read_images(paths[first : first + GROUP], size=size, resize=resize))
        images = [to_float(pixels) for _, pixels in read if not isinstance(pixels, UnreadableImage)]
        began = time.perf_counter()
        estimates = estimate(np.stack(images), first) if images else None
        seconds = (time.perf_counter() - began) / max(1, len(images))
        found = iter(_findings(estimates, names, book, alpha) if estimates else [])
        for path, pixels in read:
            if isinstance(pixels, UnreadableImage):
                yield Finding(str(path), "unreadable", None, None, book.shape[1], None, str(pixels), 0.0)
            else:
                yield next(found)._replace(file=str(path), seconds=seconds)


def _findings(estimates: Estimate, names: list[str], book: np.ndarray, alpha: float) -> list[Finding]:
    statuses = [Status(int(status)).name.lower() for status in np.asarray(estimates.status)]
    logits = np.asarray(estimates.logits)
    return [
        Finding(
            "",
            v.verdict,
            None if v.user is None else names[v.user],
            v.matched_bits,
            v.bits,
            v.p_value,
            status,
            0.0,
            row,
        )
        for v, status, row in zip(judge(estimates, book, alpha=alpha), statuses, logits, strict=True)
    ]
