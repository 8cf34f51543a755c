"""How near a generator's images come to the data: Fréchet distance, precision and recall.

In the package's random features, or in those of an Inception network that the user has, where the Fréchet
distance is the FID. Beside them stands the same between two disjoint parts of the data, the best that a
generator can reach.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from latentfp import rng
from latentfp.data import pipeline
from latentfp.generators import pretrained
from latentfp.pixels import to_pixels
from latentfp.quality import inception as network
from latentfp.quality.distribution import frechet_distance, precision_recall
from latentfp.quality.features import RANDOM, Embedding, features
from latentfp.runtime.progress import track
from latentfp.types import Key

BATCH = 100
INCEPTION_BATCH = 50  # of 299×299 images


def run(
    *,
    generator: str,
    dataset: str,
    split: str,
    data_dir: str | None,
    images: int,
    inception: str | None,
    seed: int,
    workdir: Path,
) -> dict[str, Any]:
    """Compare `images` (a multiple of 100) samples with as many of the data; writes fidelity.json.

    `inception`: a file that quality.inception reads; None for random features.
    ValueError for a file that does not fit, and for too many images.
    """
    embedding, identity = _embedding(inception)
    loaded = pretrained.load(generator)
    size = loaded.generator.image_shape[0]
    folder = data_dir or pipeline.default_data_dir()
    source = pipeline.open_source(dataset, split=split, size=size, data_dir=folder)
    if images % BATCH or len(source) < 2 * images:
        raise ValueError(f"{images} images: expected a multiple of {BATCH}, at most half of {len(source)}")
    first = features(embedding, source.images(np.arange(images)))
    second = features(embedding, source.images(np.arange(images, 2 * images)))
    drawn = features(embedding, draw(loaded, rng.stream(rng.root(seed), "fidelity"), images))
    _warn_of_bias(first)
    result = {
        "generator": generator,
        "images": images,
        "features": identity,
        "frechet": frechet_distance(drawn, first),
        "frechet_of_data": frechet_distance(second, first),
        "precision, recall": [float(x) for x in precision_recall(first, drawn)],
        "precision, recall of data": [float(x) for x in precision_recall(first, second)],
    }
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "fidelity.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _embedding(inception: str | None) -> tuple[Embedding, str]:
    """The features, and what tells them from others."""
    if inception is None:
        return RANDOM, "random"
    path = Path(inception).expanduser()
    params = network.load(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    chosen = Embedding(network.inception_features, params, INCEPTION_BATCH)
    return chosen, f"inception, SHA-256 {digest}"


def _warn_of_bias(rows: Float[np.ndarray, "n f"]) -> None:
    n, f = rows.shape
    if n <= f:
        logging.warning(
            f"Fréchet distances of {n} images in {f} features are mostly bias: take many times more images "
            "than features, and compare only distances of equally many images"
        )


def draw(loaded: pretrained.Pretrained, key: Key, n: int) -> np.ndarray:
    """Pixels of n samples, 100 at a time."""
    generator = loaded.generator

    @jax.jit
    def some(key: Key) -> jax.Array:
        return to_pixels(generator.synthesize(loaded.params, generator.sample(loaded.params, key, BATCH)))

    keys = [rng.stream(key, "batch", i) for i in range(n // BATCH)]
    return np.concatenate([np.asarray(some(key)) for key in track(keys, "sampling images")])
