"""What training reads: images by index, batches by step.

    source = open_source("avatars", split="train", size=32, data_dir=default_data_dir())
    for pixels in batches(source, batch=64, seed=0, first_step=0): ...

The order is a function of (seed, step) and has no state: each epoch is a permutation of all examples, so
resuming needs only the step. Data sets are written to disk once, by TFDS, from what this machine has; nothing
is downloaded.
"""

import functools
import itertools
import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from latentfp.data import avatars
from latentfp.runtime.progress import progress

Read = Callable[[Int[np.ndarray, " b"]], UInt8[np.ndarray, "b h h 3"]]

MEMORY = 2 << 30  # bytes of images that a source keeps in memory: 64 × 64 × 3 of 174 000 images
READ_AT_ONCE = 512  # images read from disk in one go while filling the memory
AHEAD = 2  # batches read while the present one is used


def default_data_dir() -> Path:
    """Where data sets lie: the environment variable LATENTFP_DATA, or else ~/.cache/latentfp."""
    return Path(os.environ.get("LATENTFP_DATA") or "~/.cache/latentfp").expanduser()


class Source:
    """Images of one size by index: in memory, if they take at most `memory` bytes, else read when asked for.

    `read` gives those with some indices of the `count` stored images. They are square; areas are averaged.
    """

    def __init__(self, count: int, read: Read, *, size: int, memory: int = MEMORY):
        self._count = count
        self._read = lambda rows: avatars.shrink(read(rows), size)
        self._kept = self._read_all() if count * size * size * 3 <= memory else None

    def __len__(self) -> int:
        return self._count

    def images(self, indices: Int[np.ndarray, " b"]) -> UInt8[np.ndarray, "b size size 3"]:
        """The images of these indices, each at least 0 and below the length: sRGB, uint8."""
        if indices.size and (indices.min() < 0 or indices.max() >= self._count):
            got = f"{indices.min()} to {indices.max()}"
            raise ValueError(f"got indices {got}, expected 0 to {self._count - 1}")
        return self._read(indices) if self._kept is None else self._kept[indices]

    def _read_all(self) -> UInt8[np.ndarray, "n size size 3"]:
        with progress("reading images", self._count) as advance:
            parts = []
            for rows in np.array_split(np.arange(self._count), -(-self._count // READ_AT_ONCE)):
                parts.append(self._read(rows))
                advance(len(rows))
        return np.concatenate(parts)


def open_source(dataset: str, *, split: str, size: int, data_dir: str | Path, memory: int = MEMORY) -> Source:
    """Images of a data set, `size` × `size`. Writes the data set below `data_dir`, if it is not there yet.

    `dataset`: "avatars" (style toon_head) or "avatars/<style>", stored as 64 × 64; else the path of a folder
    of images, as data.datasets takes them ("./avatars" is a folder). `split`: train, validation or test; of a
    folder, only train. `memory`: bytes, see Source.
    ValueError for an unknown style or split, a size that does not divide 64, a folder without usable images.
    """
    from latentfp.data.datasets import Avatars, Records, folder_builder, prepare

    name, _, style = dataset.partition("/")
    if name == "avatars":
        style = style or avatars.STYLES[0]
        avatars.check(style)
        if size < 1 or avatars.SIZE % size:
            stored = f"{avatars.SIZE} x {avatars.SIZE}"
            raise ValueError(f"got size {size}, but avatars are {stored}: choose a divisor")
        builder = Avatars(config=style, data_dir=data_dir, file_format="array_record")
    else:
        builder = folder_builder(Path(dataset), size=size, data_dir=Path(data_dir))
    prepare(builder)
    records = Records(builder, split)
    return Source(len(records), records.images, size=size, memory=memory)


def indices(n: int, batch: int, *, seed: int, step: int) -> Int[np.ndarray, " b"]:
    """The examples, of `n`, that training step `step` uses. Epochs follow without a gap, also in a batch."""
    if n < 1 or batch < 1 or step < 0 or seed < 0:
        got = f"{n} examples, batch {batch}, seed {seed}, step {step}"
        raise ValueError(f"got {got}; expected at least 1, 1, 0 and 0")
    position = np.arange(step * batch, (step + 1) * batch)
    epochs, places = np.divmod(position, n)
    parts = [_permutation(n, seed, int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)]
    return np.concatenate(parts)


@functools.lru_cache(maxsize=4)
def _permutation(n: int, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    # Sorts a bit generator's raw words: unlike Generator.permutation, the same in every version of NumPy.
    return np.argsort(np.random.Philox(key=[seed, epoch]).random_raw(n), kind="stable")


def batches(
    source: Source, *, batch: int, seed: int, first_step: int, rows: Int[np.ndarray, " r"] | None = None
) -> Generator[UInt8[np.ndarray, "r size size 3"], None, None]:
    """The batches of steps `first_step`, `first_step` + 1, and so on without end; a thread reads ahead.

    `rows`: which of the `batch` images of each step are read (None: all), where other processes read others.
    """
    chosen = np.arange(batch) if rows is None else rows

    def read(step: int) -> UInt8[np.ndarray, "r size size 3"]:
        return source.images(indices(len(source), batch, seed=seed, step=step)[chosen])

    with ThreadPoolExecutor(1, "batches") as thread:
        ahead = deque(thread.submit(read, first_step + i) for i in range(AHEAD))
        for step in itertools.count(first_step + AHEAD):
            ahead.append(thread.submit(read, step))
            yield ahead.popleft().result()
