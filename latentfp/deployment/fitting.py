"""From a generator to a deployment: principal axes of samples of the prior, split, written."""

import os

import jax
import numpy as np

from latentfp import rng
from latentfp.deployment import decoders
from latentfp.deployment.deployment import BASIS, Deployment, create, facts_of, read_basis
from latentfp.fingerprint.basis import Basis, fit_basis
from latentfp.fingerprint.embed import Coding
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained
from latentfp.runtime.progress import track

BATCH = 1000
USUAL_SAMPLES, USUAL_SEED = 10_000, 0  # of the bases that are shipped


def sample_basis(loaded: Pretrained, *, samples: int, seed: int) -> Basis:
    """The principal axes of `samples` latents of the prior, a multiple of 1000 or fewer than that."""
    size = min(samples, BATCH)
    if samples % size:
        raise ValueError(f"{samples} samples are not a multiple of {BATCH}: round them")
    draw = jax.jit(loaded.generator.sample, static_argnums=2)
    keys = [rng.stream(rng.root(seed), "basis", i) for i in range(samples // size)]
    return fit_basis(
        np.concatenate([draw(loaded.params, key, size) for key in track(keys, "sampling latents")])
    )


def fit(
    out: str | os.PathLike[str],
    *,
    generator: str,
    sigma: float,
    shift: int,
    bits: int,
    coding: str,
    min_distance: int | None,
    samples: int,
    seed: int,
) -> Deployment:
    """Write a deployment for the generator of this name or folder; no `min_distance`: a quarter of `bits`.

    A shipped generator may come with its basis of the usual samples, bit for bit the same on every machine,
    and with a decoder, which the deployment gets if it belongs to it.
    """
    if os.path.lexists(out):
        raise ValueError(f"{out} exists and a deployment overwrites nothing: choose another folder")
    loaded = pretrained.load(generator)
    shipped = decoders.shipped(generator)
    usual = shipped if (samples, seed) == (USUAL_SAMPLES, USUAL_SEED) else None
    made = create(
        out,
        generator=facts_of(loaded),
        basis=read_basis(usual / BASIS) if usual else sample_basis(loaded, samples=samples, seed=seed),
        sigma=sigma,
        shift=shift,
        bits=bits,
        coding=Coding(coding),
        min_distance=max(1, bits // 4) if min_distance is None else min_distance,
    )
    if shipped is not None and decoders.belongs(shipped, made):
        decoders.adopt(made, shipped)
    return made
