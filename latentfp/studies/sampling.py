"""Throughput of sampling: from noise to 8-bit pixels, in images a second by batch.

A figure is the best of several calls with other keys; the first call compiles and is timed apart, and that no
later one compiles again is counted.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from latentfp import rng
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_pixels
from latentfp.types import Key, Params

REPEATS = 3


def run(*, generator: str, batches: Sequence[int], seed: int, workdir: Path) -> dict[str, Any]:
    """Measure every batch and write sampling.json."""
    loaded = pretrained.load(generator)
    rows = {str(batch): measure(loaded, batch, rng.root(seed)) for batch in batches}
    result = {"generator": generator, "backend": jax.default_backend(), "batches": rows}
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "sampling.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def measure(loaded: Pretrained, batch: int, key: Key) -> dict[str, float]:
    """Images a second, the seconds of the first call, and how many programs all calls compiled."""
    generator, programs = loaded.generator, []

    @jax.jit
    def make(params: Params, key: Key) -> jax.Array:
        programs.append(batch)  # when it is traced
        return to_pixels(generator.synthesize(params, generator.sample(params, key, batch)))

    times = []
    for i in range(1 + REPEATS):
        began = time.perf_counter()
        make(loaded.params, rng.stream(key, "sampling", i)).block_until_ready()
        times.append(time.perf_counter() - began)
    return {
        "images_per_second": batch / min(times[1:]),
        "first_call_seconds": times[0],
        "programs": len(programs),
    }
