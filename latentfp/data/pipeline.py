"""What training reads: images by index, batches by step.

    source = open_source("avatars", split="train", size=32, data_dir=default_data_dir())
    for pixels in batches(source, batch=64, seed=0, first_step=0): ...

The order is a function of (seed, step) and has no state: each epoch is a permutation of all examples, so resuming needs
only the step. Data sets are written to disk once, by TFDS, from what is on this machine; nothing is downloaded.
"""

import functools
import itertools
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from latentfp.data import avatars
from latentfp.data.area import shrink
from latentfp.runtime.progress import track

MEMORY = 2 << 30  # bytes of images that a source keeps in memory: 64 × 64 × 3 of 174 000 images
READ_AT_ONCE = 512  # images read from disk in one go while filling the memory
AHEAD = 2  # batches read while the present one is used


def default_data_dir() -> Path:
    """Where data sets lie: the environment variable LATENTFP_DATA, or else ~/.cache/latentfp."""
    return Path(os.environ.get("LATENTFP_DATA") or "~/.cache/latentfp").expanduser()


class Source:
    """Images of one size by index. In memory as uint8 if they need at most `memory` bytes, else read when asked for."""

    def __init__(self, records: Any, *, size: int, memory: int = MEMORY):
        self._records = records
        self._size = size
        self._kept = self._read_all() if len(records) * size * size * 3 <= memory else None

    def __len__(self) -> int:
        return len(self._records)

    def images(self, indices: Int[np.ndarray, " b"]) -> UInt8[np.ndarray, "b size size 3"]:
        """The images of these indices, each at least 0 and below the length: sRGB, uint8."""
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise ValueError(f"indices {indices.min()} to {indices.max()} are not all in 0 to {len(self) - 1}")
        return self._read(indices) if self._kept is None else self._kept[indices]

    def _read(self, indices: Int[np.ndarray, " b"]) -> UInt8[np.ndarray, "b size size 3"]:
        return shrink(self._records.images(indices), self._size)

    def _read_all(self) -> UInt8[np.ndarray, "n size size 3"]:
        kept = np.empty((len(self), self._size, self._size, 3), np.uint8)
        parts = [np.arange(at, min(at + READ_AT_ONCE, len(self))) for at in range(0, len(self), READ_AT_ONCE)]
        for part in track(parts, "reading images"):
            kept[part] = self._read(part)
        return kept


def open_source(
    dataset: str, *, split: str, size: int, data_dir: str | Path, memory: int = MEMORY
) -> Source:
    """Images of a data set, `size` × `size`. Writes the data set below `data_dir` first, where it is not there yet.

    `dataset`: "avatars" (style toon_head) or "avatars/<style>", which come in 64 × 64 and are averaged down to a divisor;
    else the path of a folder of images (see data.folder; "./avatars" is a folder). `split`: train, validation or test.
    """
    from latentfp.data import records

    name, _, style = dataset.partition("/")
    builder = _avatars(style or avatars.STYLES[0], data_dir) if name == "avatars" else _folder(dataset, size, data_dir)
    records.prepare(builder)
    return Source(records.Records(builder, split), size=size, memory=memory)


def _avatars(style: str, data_dir: str | Path) -> Any:
    from latentfp.data.avatars_builder import Avatars

    avatars.licence(style)
    return Avatars(config=style, data_dir=data_dir, file_format="array_record")


def _folder(path: str, size: int, data_dir: str | Path) -> Any:
    from latentfp.data.folder import folder_builder

    return folder_builder(Path(path), size=size, data_dir=Path(data_dir))


def indices(n: int, batch: int, *, seed: int, step: int) -> Int[np.ndarray, " b"]:
    """The `batch` examples of training step `step`, of `n`. Epochs follow each other without a gap, so a batch may span two."""
    if n < 1 or batch < 1 or step < 0:
        raise ValueError(f"got {n} examples, batch {batch}, step {step}: need at least 1, 1 and 0")
    position = np.arange(step * batch, (step + 1) * batch)
    epochs, places = np.divmod(position, n)
    return np.concatenate([_permutation(n, seed, int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)])


@functools.lru_cache(maxsize=4)
def _permutation(n: int, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    # Sorting the raw words of a bit generator: unlike Generator.permutation, the same in every version of NumPy.
    return np.argsort(np.random.Philox(key=[seed, epoch]).random_raw(n), kind="stable")


def batches(
    source: Source, *, batch: int, seed: int, first_step: int
) -> Iterator[UInt8[np.ndarray, "b size size 3"]]:
    """The batches of steps `first_step`, `first_step` + 1, and so on without end; a thread reads ahead."""

    def read(step: int) -> UInt8[np.ndarray, "b size size 3"]:
        return source.images(indices(len(source), batch, seed=seed, step=step))

    with ThreadPoolExecutor(1, "batches") as thread:
        ahead = deque(thread.submit(read, first_step + i) for i in range(AHEAD))
        for step in itertools.count(first_step + AHEAD):
            ahead.append(thread.submit(read, step))
            yield ahead.popleft().result()
