"""Throughput: synthesis in images a second, and the reference search's seconds an image by batch size.

Weights and latents are random; compilation is timed apart. A figure is the best of several timed calls, since
other work on the machine can only slow a call down.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from latentfp import rng
from latentfp.attribution import reference
from latentfp.attribution.objective import Problem
from latentfp.fingerprint.basis import Space
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained
from latentfp.generators.stylegan2 import model
from latentfp.quality.pixels import multiscale
from latentfp.types import Params

REPEATS = 5


def run(
    *,
    generator: str,
    architectures: Mapping[str, Mapping[str, Any]],
    batch: int,
    pairs: Sequence[int],
    seed: int,
    workdir: Path,
) -> dict[str, Any]:
    """Measure and write speed.json: architectures by name, the search of `generator` by batch of pairs."""
    rows = {name: synthesis(fields, batch, seed) for name, fields in architectures.items()}
    loaded = pretrained.load(generator)
    search = {str(n): update_of(loaded, n, seed) for n in pairs}
    result = {"backend": jax.default_backend(), "batch": batch, "synthesis": rows, "reference search": search}
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "speed.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def best_seconds(call: Callable[[], Any]) -> tuple[float, float]:
    """(first call with compilation, best of the later ones)."""
    return call_seconds(call, repeats=1)[0], min(call_seconds(call, repeats=REPEATS))


def call_seconds(call: Callable[[], Any], *, repeats: int, calls: int = 1) -> list[float]:
    """Seconds of one call, measured `repeats` times, each the mean of so many `calls` one after the other."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(calls):
            jax.block_until_ready(call())
        times.append((time.perf_counter() - began) / calls)
    return times


def synthesis(fields: Mapping[str, Any], batch: int, seed: int) -> dict[str, float]:
    """Images a second of a StyleGAN2 with random weights."""
    made, nets = model.make(**fields), model.networks(**fields)
    params: Params = {**model.init(nets, rng.root(seed)), "noise": model.fixed_noise(fields["size"], seed)}
    w = made.sample(params, rng.stream(rng.root(seed), "w"), batch)
    render = jax.jit(made.synthesize)
    first, seconds = best_seconds(partial(render, params, w))
    flops = (render.lower(params, w).compile().cost_analysis() or {}).get("flops", 0.0) / batch
    return {"images_per_second": batch / seconds, "gflop_per_image": flops / 1e9, "first_call_seconds": first}


def update_of(loaded: Pretrained, pairs: int, seed: int) -> dict[str, float]:
    """One update of the search for `pairs` starts of one image, and what 20 x 2000 such updates take."""
    d = loaded.generator.latent_dim
    axes = jnp.eye(d)
    space = Space(jnp.zeros(d), axes[64:], jnp.ones(d - 64), axes[:64], jnp.ones(64))
    problem = Problem(loaded.params, space, Partial(multiscale), 1.0, 0.0, reference.STYLEGAN2.penalty)
    settings = reference.STYLEGAN2._replace(starts=pairs)
    starts = reference.draw_starts(rng.root(seed), jnp.arange(1), space, settings)
    target = jax.random.uniform(rng.stream(rng.root(seed), "target"), (1, *loaded.generator.image_shape))
    step = jax.jit(partial(reference.step, loaded.generator.synthesize))
    state = reference.init(starts, 64)
    first, seconds = best_seconds(lambda: step(problem, settings, target, 0, state))
    each = seconds / pairs
    return {
        "milliseconds_per_pair": 1e3 * each,
        "seconds_per_image": 40_000 * each,
        "first_call_seconds": first,
    }
