"""Descents in latents of thousands of numbers, and of large images: memory, seconds a step, and whether they
end right.

Of first stages with random weights of the published shapes, and of StyleGAN2 at every size, only the cost is
measured, for their images mean nothing. A linear generator of as many numbers says whether a descent is
right. With images x = A theta + b, errors e of the pixels and the prior N(0, I), the exact posterior mean is

    theta = Aᵀ (A Aᵀ + e² I)⁻¹ (x - b)

Only the leading axes of the prior are held; its standard deviation along all others is REST.
"""

import json
import math
import resource
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from latentfp import rng
from latentfp.attribution import refine
from latentfp.attribution.observation import DAMAGED, ROUNDING, UNDAMAGED
from latentfp.attribution.refine import Model, Settings
from latentfp.attribution.whitening import Whitened, latents, mean_curvature, render, whiten
from latentfp.augment import damage
from latentfp.choices import Coding
from latentfp.fingerprint.basis import Basis, split
from latentfp.generators.generator import Generator
from latentfp.generators.latent_diffusion import first_stage as stages
from latentfp.generators.latent_diffusion import model
from latentfp.generators.stylegan2 import model as stylegan2
from latentfp.pixels import to_float, to_pixels
from latentfp.types import Images, Key, Latents, Params

AXES, BITS, SIGMA, REST = 512, 64, 2.0, 0.1
WIDTHS = (
    96,
    96,
    64,
    32,
    32,
    32,
    32,
)  # channels of the StyleGAN2 from 4 x 4 up; the first four are the embedded one's
CONTRAST = 0.2  # standard deviation of the linear generator's pixels


def run(
    *, kind: str, fields: Mapping[str, Any], probes: int, steps: int, seed: int, workdir: Path
) -> dict[str, Any]:
    """Measure descents of one generator and write large_latents.json: the peak of memory of the whole process
    in MiB, seconds of the first step, which compiles, and of each later one; and for a linear generator the
    bits that are read and that the exact posterior mean has right, of 64, and in how many they agree."""
    workdir.mkdir(parents=True, exist_ok=True)
    key = rng.root(seed)
    generator, params = MAKERS[kind](rng.stream(key, "generator"), **fields)
    space = whiten(
        _space(rng.stream(key, "space"), generator.latent_dim), sigma=SIGMA, coding=Coding.ANTIPODAL
    )
    curvature = mean_curvature(generator, params, space, rng.stream(key, "probes"), batch=1, probes=probes)
    theta = jax.random.normal(rng.stream(key, "theta"), (1, space.size))
    theta = theta.at[:, -BITS:].set(jnp.sign(theta[:, -BITS:]))
    files = jnp.asarray(to_float(to_pixels(render(generator, params, space, theta))))
    known = Model(params, space, curvature)
    result = {"kind": kind, "fields": dict(fields), "latent": generator.latent_dim, "probes": probes}
    result["undamaged"] = undamaged = _timed(UNDAMAGED, generator, known, files, steps)
    found = undamaged.pop("theta")
    result["damaged"] = damaged = _timed(DAMAGED, generator, known, files, 2)
    del damaged["theta"]
    result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if kind == "linear":
        exact = posterior_mean(params, space, np.asarray(files))
        code, read, best = (np.asarray(it).ravel()[-BITS:] > 0 for it in (theta, found, exact))
        result["bits"] = {
            "read": int((read == code).sum()),
            "exact": int((best == code).sum()),
            "agree": int((read == best).sum()),
        }
    (workdir / "large_latents.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _space(key: Key, d: int) -> Any:
    axes = jnp.linalg.qr(jax.random.normal(key, (d, AXES)))[0].T
    rest = jnp.asarray(REST if d > AXES else 0.0)
    basis = Basis(jnp.zeros(d), axes, jnp.linspace(2.0, 0.5, AXES), rest)
    return split(basis, shift=AXES - BITS, bits=BITS)


def _timed(observation: Any, generator: Generator, known: Model, files: Images, steps: int) -> dict[str, Any]:
    """One descent from the mean of the prior."""
    settings = Settings(steps=steps, first_scale=10.0)
    nothing = jnp.zeros((1, damage.SIZE))
    begun = jnp.zeros((1, known.space.size))
    problem, state = refine.begin(observation, generator, known, settings, files, nothing, begun)
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        state = refine.step(observation, generator, known, settings, problem, state, bits=BITS)
        jax.block_until_ready(state)
        seconds.append(time.perf_counter() - start)
    found = state.point[:, : known.space.size]
    later = sum(seconds[1:]) / max(1, len(seconds) - 1)
    residual = float(state.residual[0])
    return {"first_step": seconds[0], "step": later, "steps": steps, "residual": residual, "theta": found}


def posterior_mean(
    params: Params, space: Whitened, files: Float[np.ndarray, "b h w 3"]
) -> Float[np.ndarray, "b d"]:
    """The exact mean of theta for images of the linear generator that were rounded to 8 bits."""
    origin = latents(space, jnp.zeros((1, space.size)))
    pull = jax.linear_transpose(
        lambda theta: latents(space, theta) - origin, jnp.zeros((len(params["matrix"]), space.size))
    )
    jacobian = np.asarray(pull(params["matrix"])[0], np.float64)
    beyond = files.reshape(len(files), -1) - np.asarray(params["offset"][None] + origin @ params["matrix"].T)
    gram = jacobian @ jacobian.T + ROUNDING**2 * np.eye(len(jacobian))
    return np.linalg.solve(gram, beyond.T.astype(np.float64)).T @ jacobian


def linear(key: Key, *, latent: int, size: int) -> tuple[Generator, Params]:
    """Images of `size` × `size` pixels, each value a random direction of `latent` numbers."""

    def synthesize(params: Params, w: Latents) -> Images:
        return (w @ params["matrix"].T + params["offset"][None]).reshape(-1, size, size, 3)

    variance = (
        AXES * 1.75 + REST**2 * latent
    )  # of the prior; the leading deviations fall evenly from 2 to 0.5
    matrix = jax.random.normal(key, (3 * size * size, latent)) * (CONTRAST / variance**0.5)
    params = {"matrix": matrix, "offset": jnp.zeros(len(matrix))}
    return Generator("linear", latent, (size, size, 3), partial(_sample, latent), synthesize), params


def first_stage(key: Key, *, size: int, **fields: Any) -> tuple[Generator, Params]:
    """The decoder of an autoencoder with random weights; its latents are not quantised."""
    stage = stages.FirstStage(**{name: _hashable(value) for name, value in fields.items()})
    side = size // 2 ** (len(stage.channels) - 1)
    latent = side * side * stage.latent

    def synthesize(params: Params, w: Latents) -> Images:
        z = model.unflatten(w, (side, side, stage.latent))
        return stage.apply({"params": params}, z, quantised=False, method=stage.decode)  # type: ignore

    params = jax.jit(partial(stages.init, stage, size=64))(key)
    return Generator("first stage", latent, (size, size, 3), partial(_sample, latent), synthesize), params


def growing_stylegan2(key: Key, *, size: int) -> tuple[Generator, Params]:
    """StyleGAN2 of a latent of 512 numbers, at every size the same up to there and as wide above."""
    channels = WIDTHS[: int(math.log2(size)) - 1]
    generator = stylegan2.make(size=size, channels=channels, latent_dim=AXES, mapping_layers=2)
    nets = stylegan2.networks(size=size, channels=channels, latent_dim=AXES, mapping_layers=2)
    params = jax.jit(partial(stylegan2.init, nets))(key)
    return generator, {**params, "noise": stylegan2.fixed_noise(size, 0), "w_average": jnp.zeros(AXES)}


def _sample(latent: int, params: Params, key: Key, n: int) -> Latents:
    del params
    return jax.random.normal(key, (n, latent))


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


MAKERS: dict[str, Callable[..., tuple[Generator, Params]]] = {
    "linear": linear,
    "first_stage": first_stage,
    "stylegan2": growing_stylegan2,
}
