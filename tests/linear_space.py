"""A linear generator with a fitted fingerprint space, in memory or as a folder."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np

from latentfp import rng
from latentfp.deployment import fitting
from latentfp.deployment.registry import Registry
from latentfp.fingerprint.basis import fit_basis, split
from latentfp.generators import linear, pretrained

D, SIZE, BITS, SHIFT = 24, 8, 8, 10


def linear_space(key, *, size=SIZE):
    """Generator, parameters and space: 8 bits on axes 10 … 17 of 24."""
    params = linear.init(key, latent_dim=D, size=size)
    samples = np.random.default_rng(2).normal(size=(400, D)) * np.asarray(params["scale"])
    return linear.make(latent_dim=D, size=size), params, split(fit_basis(samples), shift=SHIFT, bits=BITS)


def jacobian(params, white):
    """J [p, d] of images over whitened coordinates in float64: gain · matrix · rowsᵀ."""
    return 0.5 * np.asarray(params["matrix"], np.float64) @ np.asarray(white.rows, np.float64).T


def write_generator(folder: Path, *, latent_dim: int, size: int) -> str:
    """A generator folder; returns its name for `fit`."""
    pretrained.save(
        folder,
        kind="linear",
        fields={"latent_dim": latent_dim, "size": size},
        params=linear.init(rng.root(3), latent_dim=latent_dim, size=size),
        noise_seed=0,
        half=False,
    )
    return str(folder)


def add_drawn(registry: Registry, names: list[str], *, seed: int) -> None:
    """Add users whose codes follow from a seed, but count as drawn in secret."""
    secretly = registry._replace(assign=lambda _, *new: registry.assign(seed, *new))
    secretly.add(names)


def write_deployment(folder: Path, *, size: int = 8, sigma: float = 1.0) -> Path:
    """A deployment of 32 bits on the last axes of 48, with the users alice and bob: a copy of one."""
    return Path(shutil.copytree(_fitted(size, sigma), folder / "deployment"))


@functools.cache
def _fitted(size: int, sigma: float) -> Path:
    """Made once in a process; the generator stays here."""
    folder = Path(tempfile.mkdtemp(prefix="latentfp-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    generator = write_generator(folder / "generator", latent_dim=48, size=size)
    deployment = fitting.fit(
        folder / "deployment",
        generator=generator,
        sigma=sigma,
        shift=16,
        bits=32,
        coding="antipodal",
        min_distance=None,
        samples=1000,
        seed=0,
    )
    add_drawn(deployment.registry, ["alice", "bob"], seed=1)
    return deployment.path
