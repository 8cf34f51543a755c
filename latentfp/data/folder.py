"""A user's own folder of images as a TFDS data set.

All image files below the folder count, at any depth, and are the split `train`: held-out images are another
folder. From each the largest centred square is taken and brought to the size asked for by Pillow's Lanczos
filter (antialiased), never enlarged. A file that cannot be read, or is too small, is left out, and the log
names it; that none is left is an error.
"""

import dataclasses
import functools
import logging
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from latentfp.data.files import UnreadableImage, find_images, read_image
from latentfp.data.records import png
from latentfp.runtime.progress import track
from latentfp.types import Pixels

NAMED = 10  # files left out that the log names; the others are counted


@dataclasses.dataclass(eq=False)
class FolderConfig(tfds.core.BuilderConfig):
    """A folder and the size [pixels] that its images are stored at."""

    folder: Path = Path()
    size: int = 0

    @functools.cached_property
    def files(self) -> list[Path]:
        """All image files below the folder, sorted."""
        return [path for path in find_images([self.folder]) if path.is_file()]


class Folder(tfds.core.GeneratorBasedBuilder):
    """A folder's images. An example is an `image`, uint8 [size size 3], and its `file` within the folder."""

    VERSION = tfds.core.Version("1.0.0")
    builder_config: FolderConfig

    def _info(self) -> tfds.core.DatasetInfo:
        size = self.builder_config.size
        image = tfds.features.Image(shape=(size, size, 3), encoding_format="png")
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"The images below the folder {self.builder_config.folder}.",
            features=tfds.features.FeaturesDict({"image": image, "file": tfds.features.Text()}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing is downloaded
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        size, folder, files = self.builder_config.size, self.builder_config.folder, self.builder_config.files
        left_out = []
        for number, path in enumerate(track(files, f"reading {folder}")):
            try:
                image = square(path, size)
            except UnreadableImage as error:
                left_out.append(str(error))
                continue
            yield number, {"image": png(image), "file": os.fsencode(path.relative_to(folder))}
        if left_out:
            named = "\n  ".join(left_out[:NAMED])
            report = f"{len(left_out)} of {len(files)} files are left out, the first of them:\n  {named}"
            if len(left_out) == len(files):
                raise ValueError(f"no usable image below {folder}: {report}")
            logging.warning(report)


def folder_builder(folder: Path, *, size: int, data_dir: Path) -> Folder:
    """The builder for a folder as it is now: after any change of its files, the data set is another one."""
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise ValueError(f"no folder {folder}: name a folder of images, or avatars, or avatars/<style>")
    if size < 1:
        raise ValueError(f"got size {size}, expected at least 1 pixel")
    config = FolderConfig(name="", folder=folder, size=size)
    if not config.files:
        raise ValueError(f"no image files below {folder}: expected PNG, JPEG, WebP, BMP, TIFF or GIF files")
    config.name = f"{re.sub(r'[^A-Za-z0-9]+', '_', folder.name)}_{_state(config):08x}_{size}"
    return Folder(config=config, data_dir=data_dir, file_format="array_record")


def square(path: Path, size: int) -> Pixels:
    """The largest centred square of an image file, resampled to `size` × `size`, or UnreadableImage."""
    pixels = read_image(path, size=None)
    height, width = pixels.shape[:2]
    side = min(height, width)
    if side < size:
        reason = f"{width} x {height} pixels, too small for {size} x {size}"
        raise UnreadableImage(path, reason, "choose a smaller size")
    top, left = (height - side) // 2, (width - side) // 2
    image = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS))


def _state(config: FolderConfig) -> int:
    described = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in config.files]
    return zlib.crc32(repr((str(config.folder), described)).encode())
