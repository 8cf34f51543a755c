"""Latents that a provider has, in place of samples of a prior: for generators that draw none themselves.

Files are .npy and .safetensors of latents as the pipeline counts them, each [c, h, w], [n, c, h, w], [d] or
[n, d] of a latent of d = c h w numbers; they stay on disk until they are used. Or images are encoded, the
largest centred square of each.
"""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from latentfp.checkpoints.torch_files import flatten, read_tensors
from latentfp.data.files import UnreadableImage, find_images, square
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_float
from latentfp.runtime.progress import track
from latentfp.types import Pixels

BATCH = 4  # images that are encoded together
READ = 1000  # latents that are read together

LatentRows = Float[np.ndarray, "n d"]


class Given(NamedTuple):
    """So many latents, float32, in batches that are read once and in turn."""

    count: int
    batches: Iterable[LatentRows]


def from_files(files: Sequence[Path], dimensions: int) -> Given:
    """The latents in files, which are read when their turn comes. ValueError for other shapes or no file, and
    as batches are read for numbers that are not finite."""
    arrays = [array for path in files for array in _arrays_of(path, dimensions)]
    parts = [(path, rows[i : i + READ]) for path, rows in arrays for i in range(0, len(rows), READ)]
    return Given(sum(len(rows) for _, rows in arrays), map(_finite, track(parts, "reading latents")))


def _finite(part: tuple[str, np.ndarray]) -> LatentRows:
    name, rows = part
    read = np.asarray(rows, np.float32)
    if not np.isfinite(read).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    return read


def _arrays_of(path: Path, dimensions: int) -> Iterator[tuple[str, np.ndarray]]:
    """Every array [n, dimensions] in a file, with its name."""
    for name, array in _arrays_in(path).items():
        whole = math.prod(array.shape) == dimensions
        if (
            not (whole or (array.ndim > 1 and math.prod(array.shape[1:]) == dimensions))
            or array.dtype == object
        ):
            raise ValueError(
                f"{path}: {name} has the shape {list(array.shape)}, expected one latent or several of "
                f"{dimensions} numbers each, as [n, channels, height, width]"
            )
        yield f"{path}: {name}", array.reshape(-1, dimensions)


def _arrays_in(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give .npy or .safetensors files of latents")
    if path.suffix == ".npy":
        try:
            return {"the array": np.load(path, mmap_mode="r", allow_pickle=False)}
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path}: it is no .npy file of numbers ({error})") from None
    return flatten(read_tensors(path))


def from_images(loaded: Pretrained, folder: Path) -> Given:
    """What the generator's encoder makes of the images below a folder.

    Files that cannot be read, or are too small, are left out, and the log names them. ValueError where none
    is left, or the generator has no encoder.
    """
    encode, (size, width, _) = loaded.generator.encode, loaded.generator.image_shape
    if encode is None or size != width:
        raise ValueError(f"a {loaded.generator.name} has no encoder of square images: give latents")
    compiled, paths = jax.jit(encode), find_images([folder])
    latents, left_out = [], []
    images = _squares(track(paths, "encoding images"), size, left_out)
    while some := list(islice(images, BATCH)):
        filled = np.stack([some[i % len(some)] for i in range(BATCH)])
        latents.append(np.asarray(compiled(loaded.params, to_float(filled)))[: len(some)])
    if left_out:
        report = f"{len(left_out)} of {len(paths)} files are left out, the first: {left_out[0]}"
        if not latents:
            raise ValueError(f"no usable image below {folder}: {report}")
        logging.warning(report)
    return Given(sum(map(len, latents)), latents)


def _squares(paths: Iterable[Path], size: int, left_out: list[str]) -> Iterator[Pixels]:
    """The images that can be read; why others cannot is added to `left_out`."""
    for path in paths:
        try:
            yield square(path, size)
        except UnreadableImage as error:
            left_out.append(str(error))
