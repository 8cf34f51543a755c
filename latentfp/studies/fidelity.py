"""How near a generator's images come to the data: Fréchet distance, precision and recall.

In the package's random features, or in those of an Inception network that the user has, where the Fréchet
distance is the FID. Beside them stands the same between two disjoint parts of the data, the best that a
generator can reach.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

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
from latentfp.runtime.files import file_hash
from latentfp.runtime.progress import track
from latentfp.studies.context import Rows
from latentfp.studies.experiment import Experiment, Numbers
from latentfp.types import Key

BATCH = 100
INCEPTION_BATCH = 50  # of 299×299 images


class Settings(NamedTuple):
    """As many samples as images of the data, a multiple of 100.

    `inception`: a file that quality.inception reads; None for random features.
    """

    generator: str
    dataset: str
    split: str
    data_dir: str | None
    images: int
    inception: str | None


def measure(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """Fréchet distance, precision and recall of samples, and those of other data.

    ValueError for a file that does not fit, and for too many images.
    """
    embedding, named = _embedding(settings.inception)
    loaded = pretrained.load(settings.generator)
    size = loaded.generator.image_shape[0]
    folder = settings.data_dir or pipeline.default_data_dir()
    source = pipeline.open_source(settings.dataset, split=settings.split, size=size, data_dir=folder)
    if settings.images % BATCH or len(source) < 2 * settings.images:
        raise ValueError(
            f"{settings.images} images: expected a multiple of {BATCH}, at most half of {len(source)}"
        )
    key = rng.stream(rng.root(experiment.seed), "fidelity")
    (numbers,) = experiment.measured(
        [{"features": named}],
        lambda _: compared(embedding, source, draw(loaded, key, settings.images)),
        belongs={"generator": loaded.identity, "seed": experiment.seed, **settings._asdict()},
    )
    return {"features": named, **numbers}


def compared(embedding: Embedding, source: pipeline.Source, samples: Rows) -> Numbers:
    """Of n samples with the first n of the data, and of these with the next n."""
    n = len(samples)
    first = features(embedding, source.images(np.arange(n)))
    second = features(embedding, source.images(np.arange(n, 2 * n)))
    drawn = features(embedding, samples)
    _warn_of_bias(first)
    return {
        "frechet": frechet_distance(drawn, first),
        "frechet_of_data": frechet_distance(second, first),
        "precision, recall": [float(x) for x in precision_recall(first, drawn)],
        "precision, recall of data": [float(x) for x in precision_recall(first, second)],
    }


def _embedding(inception: str | None) -> tuple[Embedding, str]:
    """The features, and what tells them from others."""
    if inception is None:
        return RANDOM, "random"
    path = Path(inception).expanduser()
    params = network.load(path)
    chosen = Embedding(network.inception_features, params, INCEPTION_BATCH)
    return chosen, f"inception, SHA-256 {file_hash(path)}"


def _warn_of_bias(rows: Float[np.ndarray, "n f"]) -> None:
    n, f = rows.shape
    if n <= f:
        logging.warning(
            f"Fréchet distances of {n} images in {f} features are mostly bias: take many times more images "
            "than features, and compare only distances of equally many images"
        )


def draw(loaded: pretrained.Pretrained, key: Key, n: int) -> Rows:
    """Pixels of n samples, 100 at a time."""
    generator = loaded.generator

    @jax.jit
    def some(key: Key) -> jax.Array:
        return to_pixels(generator.synthesize(loaded.params, generator.sample(loaded.params, key, BATCH)))

    keys = [rng.stream(key, "batch", i) for i in range(n // BATCH)]
    return np.concatenate([np.asarray(some(key)) for key in track(keys, "sampling images")])
