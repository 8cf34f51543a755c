"""How near a generator's images come to the data: Fréchet distance, precision and recall in random features.

Beside them stands the same between two disjoint parts of the data, the best that a generator can reach.
"""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from latentfp import rng
from latentfp.data import pipeline
from latentfp.generators import pretrained
from latentfp.pixels import to_pixels
from latentfp.quality.distribution import frechet_distance, precision_recall
from latentfp.runtime.progress import track
from latentfp.studies.accuracy import features
from latentfp.types import Key

BATCH = 100


def run(
    *, generator: str, dataset: str, split: str, data_dir: str | None, images: int, seed: int, workdir: Path
) -> dict[str, Any]:
    """Compare `images` (a multiple of 100) samples with as many of the data; writes fidelity.json."""
    loaded = pretrained.load(generator)
    size = loaded.generator.image_shape[0]
    folder = data_dir or pipeline.default_data_dir()
    source = pipeline.open_source(dataset, split=split, size=size, data_dir=folder)
    if images % BATCH or len(source) < 2 * images:
        raise ValueError(f"{images} images: expected a multiple of {BATCH}, at most half of {len(source)}")
    first, second = (
        features(source.images(np.arange(images))),
        features(source.images(np.arange(images, 2 * images))),
    )
    drawn = features(draw(loaded, rng.stream(rng.root(seed), "fidelity"), images))
    result = {
        "generator": generator,
        "images": images,
        "frechet": frechet_distance(drawn, first),
        "frechet_of_data": frechet_distance(second, first),
        "precision, recall": [float(x) for x in precision_recall(first, drawn)],
        "precision, recall of data": [float(x) for x in precision_recall(first, second)],
    }
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "fidelity.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def draw(loaded: pretrained.Pretrained, key: Key, n: int) -> np.ndarray:
    """Pixels of n samples, 100 at a time."""
    generator = loaded.generator

    @jax.jit
    def some(key: Key) -> jax.Array:
        return to_pixels(generator.synthesize(loaded.params, generator.sample(loaded.params, key, BATCH)))

    keys = [rng.stream(key, "batch", i) for i in range(n // BATCH)]
    return np.concatenate([np.asarray(some(key)) for key in track(keys, "sampling images")])
