"""Latents that a provider has, in place of samples of a prior: for generators that draw none themselves.

Files are .npy and .safetensors of latents as the pipeline counts them, each [c, h, w], [n, c, h, w], [d] or
[n, d] of a latent of d = c h w numbers; they stay on disk until they are used. Or images are encoded, the
largest centred square of each.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from latentfp.checkpoints.torch_files import flatten, read_tensors
from latentfp.data.datasets import square
from latentfp.data.files import UnreadableImage, find_images
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_float
from latentfp.runtime.progress import track

BATCH = 4  # images that are encoded together

LatentRows = Float[np.ndarray, "n d"]


def from_files(files: Sequence[Path], dimensions: int) -> LatentRows:
    """All latents in files, float32. ValueError for other shapes, numbers that are not finite, or no file."""
    parts = [rows for path in files for rows in _rows_in(path, dimensions)]
    w = np.empty((sum(map(len, parts)), dimensions), np.float32)
    at = 0
    for part in track(parts, "reading latents"):
        w[at : at + len(part)] = part
        at += len(part)
    return w


def _rows_in(path: Path, dimensions: int) -> Iterator[np.ndarray]:
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
        rows = array.reshape(-1, dimensions)
        if not all(np.isfinite(row.astype(np.float32)).all() for row in rows):
            raise ValueError(f"{path}: {name} holds numbers that are not finite")
        yield rows


def _arrays_in(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give .npy or .safetensors files of latents")
    if path.suffix == ".npy":
        try:
            return {"the array": np.load(path, mmap_mode="r", allow_pickle=False)}
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path}: it is no .npy file of numbers ({error})") from None
    return flatten(read_tensors(path))


def from_images(loaded: Pretrained, folder: Path) -> LatentRows:
    """What the generator's encoder makes of the images below a folder.

    Files that cannot be read, or are too small, are left out, and the log names them. ValueError where none
    is left, or the generator has no encoder.
    """
    encode, (size, width, _) = loaded.generator.encode, loaded.generator.image_shape
    if encode is None or size != width:
        raise ValueError(f"a {loaded.generator.name} has no encoder of square images: give latents")
    pixels, left_out = [], []
    paths = find_images([folder])
    for path in track(paths, "reading images"):
        try:
            pixels.append(square(path, size))
        except UnreadableImage as error:
            left_out.append(str(error))
    if left_out:
        report = f"{len(left_out)} of {len(paths)} files are left out, the first: {left_out[0]}"
        if not pixels:
            raise ValueError(f"no usable image below {folder}: {report}")
        logging.warning(report)
    compiled, n = jax.jit(encode), len(pixels)
    w = np.empty((n, loaded.generator.latent_dim), np.float32)
    for first in track(range(0, n, BATCH), "encoding images"):
        filled = [pixels[i % n] for i in range(first, first + BATCH)]
        w[first : first + BATCH] = compiled(loaded.params, to_float(np.stack(filled)))[: n - first]
    return w
