"""What a run tells its reader: means of metrics, and grids of images.

A step returns each metric as (sum, count), so the mean over a window is total sum / total count and does
not depend on how the window was split into batches, devices or steps. Numbers go to `metrics.jsonl`, one
JSON object a line, and to TensorBoard where clu and TensorFlow are installed (this is the only file that
touches them).
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jaxtyping import Float, UInt8
from PIL import Image as Picture

from latentfp.pixels import to_pixels
from latentfp.runtime import lines
from latentfp.runtime.files import replacing

Metrics = Mapping[str, tuple[Any, Any]]  # name -> (sum, count), float32 scalars


class Window:
    """The metrics of the steps since the last row, left on the devices until somebody looks."""

    def __init__(self):
        self._steps: list[int] = []
        self._metrics: list[Metrics] = []

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: int, metrics: Metrics) -> None:
        """Note the metrics of the given step without waiting for them."""
        self._steps.append(step)
        self._metrics.append(metrics)

    def wait(self, *, ahead: int) -> None:
        """Wait until at most `ahead` steps are unfinished."""
        if len(self._metrics) > ahead:
            jax.block_until_ready(self._metrics[-1 - ahead])

    def means(self) -> dict[str, float]:
        """The mean of every metric that was counted. FloatingPointError names the first step not finite."""
        rows = jax.device_get(self._metrics)
        for step, row in zip(self._steps, rows, strict=True):
            bad = {
                name: float(total) for name, (total, count) in row.items() if not math.isfinite(total + count)
            }
            if bad:
                raise FloatingPointError(
                    f"step {step} is not finite: {bad}; the latest checkpoint is of an earlier step, "
                    "so lower the learning rate or change the seed, and resume in a copy of the folder"
                )
        return mean_metrics(rows)

    def clear(self) -> None:
        """Start a new window."""
        self._steps.clear()
        self._metrics.clear()


def mean_metrics(rows: Sequence[Metrics]) -> dict[str, float]:
    """Total sum / total count of every metric, in float64; a metric that no row counted is left out."""
    names = sorted({name for row in rows for name in row})
    pairs = {name: np.array([row[name] for row in rows if name in row], np.float64) for name in names}
    totals = {name: pair.sum(axis=0).tolist() for name, pair in pairs.items()}
    return {name: total / count for name, (total, count) in totals.items() if count}


class Writer:
    """Writes numbers and pictures of a run into its folder."""

    def __init__(self, workdir: Path, *, first_step: int):
        """Rows later than `first_step`, of a run that was killed, are dropped: they will be written again."""
        workdir.mkdir(parents=True, exist_ok=True)
        self._folder, self._rows = workdir, workdir / "metrics.jsonl"
        kept = [row for row in lines.read(self._rows) if row["step"] <= first_step]
        with replacing(self._rows) as fresh:
            fresh.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._board = _tensorboard(workdir)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One row of numbers after `step` steps."""
        lines.append(self._rows, {"step": step, **values})
        if self._board is not None:
            self._board.write_scalars(step, values)

    def grid(self, step: int, images: Float[Any, "n h w 3"]) -> None:
        """Images in [-1, 1] as one grid: `previews/<step>.png`."""
        pixels = grid(images)
        path = self._folder / "previews" / f"{step:08d}.png"
        path.parent.mkdir(exist_ok=True)
        Picture.fromarray(pixels).save(path)
        if self._board is not None:
            self._board.write_images(step, {"preview": pixels[None]})

    def close(self) -> None:
        """Write what is buffered."""
        if self._board is not None:
            self._board.close()


def grid(images: Float[Any, "n h w 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """Images in [-1, 1], row by row, in the squarest grid that holds them; empty places are grey."""
    n, h, w, _ = images.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    cells = np.zeros((rows * columns, h, w, 3), np.float32)
    cells[:n] = images
    sheet = cells.reshape(rows, columns, h, w, 3).transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, 3)
    return to_pixels(sheet)


def _tensorboard(workdir: Path) -> Any | None:
    try:
        from clu import metric_writers
        from tensorflow import config
    except ImportError as error:
        logging.info("no TensorBoard, numbers are in metrics.jsonl alone: %s", error)
        return None
    config.set_visible_devices([], "GPU")  # the devices belong to JAX
    return metric_writers.SummaryWriter(str(workdir / "tensorboard"))
