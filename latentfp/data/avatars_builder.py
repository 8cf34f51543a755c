"""The avatars as a TFDS data set: one builder config a style, three disjoint ranges of indices as splits.

Kept apart from the drawing so that only who builds or reads the data set imports TensorFlow.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from latentfp.data import avatars
from latentfp.data.records import png


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
            yield index, {"image": png(image), "index": index}
