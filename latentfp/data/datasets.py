"""Image data sets on disk: written once by a TFDS builder, read at random without a tf.data pipeline.

Two kinds: the avatars, one configuration a style and three disjoint ranges of indices as splits; and a user's
own folder. Builders store PNG in the format array_record, from which record i can be read at once. Nothing is
downloaded.

Of a folder all image files count, at any depth, and are the split `train`: held-out images are another
folder. From each the largest centred square is taken and brought to the size asked for by Pillow's Lanczos
filter (antialiased), never enlarged. A file that cannot be read, or is too small, is left out, and the log
names it; that none is left is an error.
"""

import contextlib
import dataclasses
import functools
import io
import logging
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int, UInt8
from PIL import Image

from latentfp.data import avatars
from latentfp.data.files import UnreadableImage, find_images, square
from latentfp.runtime.progress import track
from latentfp.types import Pixels

NAMED = 10  # files left out that the log names; the others are counted


class Records:
    """The images of one split of a prepared data set."""

    def __init__(self, builder: Any, split: str):
        if split not in builder.info.splits:
            raise ValueError(f"no split {split!r}: {builder.name} has {', '.join(builder.info.splits)}")
        self._source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})

    def __len__(self) -> int:
        return len(self._source)

    def images(self, indices: Int[np.ndarray, " b"]) -> UInt8[np.ndarray, "b h h 3"]:
        """The images of these indices, at least one, each below the length: sRGB, uint8."""
        rows = self._source.__getitems__(indices.tolist())
        return np.stack([np.asarray(Image.open(io.BytesIO(row["image"]))) for row in rows])


def prepare(builder: Any) -> None:
    """Write the data set of a TFDS builder, unless it is there already."""
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces a download there
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))


def _png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@dataclasses.dataclass(eq=False)
class AvatarsConfig(tfds.core.BuilderConfig):
    """A style of avatars.STYLES, and the indices of each split. `workers`: see avatars.render_each."""

    style: str = avatars.STYLES[0]
    splits: dict[str, range] = dataclasses.field(default_factory=lambda: dict(avatars.SPLITS))
    workers: int | None = None


class Avatars(tfds.core.GeneratorBasedBuilder):
    """Cartoon avatars. An example is an `image`, uint8 [64 64 3], and its `index`; they are in that order."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [AvatarsConfig(name=style, style=style) for style in avatars.STYLES]  # noqa: RUF012
    builder_config: AvatarsConfig

    def _info(self) -> tfds.core.DatasetInfo:
        licence = avatars.licence(self.builder_config.style)
        image = tfds.features.Image(shape=(avatars.SIZE, avatars.SIZE, 3), encoding_format="png")
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Cartoon avatars drawn by the package dicebear-core. {licence['notice']}",
            features=tfds.features.FeaturesDict({"image": image, "index": tfds.features.Scalar(np.int64)}),
            homepage=licence["source_url"],
            citation=f"{licence['title']} by {licence['author']}, {licence['author_url']}",
            license=f"{licence['licence']} ({licence['licence_url']})",
            metadata=tfds.core.MetadataDict(licence),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing is downloaded
        return {
            split: self._generate_examples(indices) for split, indices in self.builder_config.splits.items()
        }

    def _generate_examples(self, indices: range) -> Iterator[tuple[int, dict[str, Any]]]:
        config = self.builder_config
        drawn = avatars.render_each(config.style, indices, size=avatars.SIZE, workers=config.workers)
        for index, image in zip(indices, drawn, strict=True):
            yield index, {"image": _png(image), "index": index}


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
            yield number, {"image": _png(image), "file": os.fsencode(path.relative_to(folder))}
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


def _state(config: FolderConfig) -> int:
    described = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in config.files]
    return zlib.crc32(repr((str(config.folder), described)).encode())
