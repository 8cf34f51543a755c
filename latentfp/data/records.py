"""Image data sets on disk, written once by a TFDS builder and read at random, without a tf.data pipeline.

Builders store PNG in the format array_record, from which record i can be read at once. Nothing is downloaded.
"""

import contextlib
import io
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from latentfp.types import Pixels


def png(pixels: Pixels) -> bytes:
    """One image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def prepare(builder: Any) -> None:
    """Write the data set of a TFDS builder, unless it is there already."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces a download there
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))


class Records:
    """The images of one split of a prepared data set."""

    def __init__(self, builder: Any, split: str):
        import tensorflow_datasets as tfds

        if split not in builder.info.splits:
            raise ValueError(f"no split {split!r}: {builder.name} has {', '.join(builder.info.splits)}")
        self._source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})

    def __len__(self) -> int:
        return len(self._source)

    def images(self, indices: Int[np.ndarray, " b"]) -> UInt8[np.ndarray, "b h h 3"]:
        """The images of these indices, at least one, each below the length: sRGB, uint8."""
        rows = self._source.__getitems__(indices.tolist())
        return np.stack([np.asarray(Image.open(io.BytesIO(row["image"]))) for row in rows])
