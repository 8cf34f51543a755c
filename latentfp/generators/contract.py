"""What every generator promises, as a test that anybody can run on their own:

    from latentfp.generators import contract

    contract.check(generator, params)

It compiles each function of the generator once or twice for a few rows.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from latentfp import rng
from latentfp.generators.generator import Generator
from latentfp.types import Latents, Params

ROWS = 3
FUSION = 1e-4  # of the largest pixel: the same operations in float32, fused or not, through a deep network
SLOPE = 0.25  # of a derivative's size: its curvature over STEP of a latent's standard deviation, and float32
STEP, LARGEST = 0.02, 3.0  # LARGEST: of the mean pixel, which an untrained network may leave above 1


def check(generator: Generator, params: Params) -> None:
    """ValueError that names everything in which this generator with its parameters breaks its promises.

    >>> generator, params = lf.linear_generator()
    >>> lf.check_generator(generator, params)
    >>> lf.check_generator(generator._replace(image_shape=(8, 9, 3)), params)
    Traceback (most recent call last):
    ValueError: linear: synthesize gives float32 (3, 8, 8, 3), expected float32 (3, 8, 9, 3)
    """
    faults = _size_faults(generator)
    if not faults:
        latents, faults = _sampled(generator, params)
        faults = faults or _image_faults(generator, params, latents)
        faults = faults or _option_faults(generator, params, latents)
    if faults:
        raise ValueError("\n".join(f"{generator.name}: {fault}" for fault in faults))


def _size_faults(it: Generator) -> list[str]:
    rules = [
        (it.latent_dim > 0, f"latent_dim is {it.latent_dim}, expected 1 or more"),
        (
            len(it.image_shape) == 3 and it.image_shape[-1] == 3 and min(it.image_shape) > 0,
            f"image_shape is {it.image_shape}, expected (height, width, 3)",
        ),
        (
            it.channels > 0 and it.latent_dim % it.channels == 0,
            f"channels is {it.channels}, which does not divide latent_dim {it.latent_dim}",
        ),
    ]
    return [fault for holds, fault in rules if not holds]


def _shape_faults(name: str, found: jax.Array, expected: tuple[int, ...]) -> list[str]:
    if found.shape != expected or found.dtype != jnp.float32:
        return [f"{name} gives {found.dtype} {found.shape}, expected float32 {expected}"]
    return [] if np.isfinite(found).all() else [f"{name} gives NaN or infinite numbers"]


def _sampled(it: Generator, params: Params) -> tuple[Latents, list[str]]:
    draw = jax.jit(it.sample, static_argnums=2)
    latents, again, other = (draw(params, rng.root(seed), ROWS) for seed in (5, 5, 6))
    faults = _shape_faults("sample", latents, (ROWS, it.latent_dim))
    if not faults:
        rules = [
            ((latents == again).all(), "sample gives other latents for the same key"),
            ((latents != other).any(axis=1).all(), "sample gives the same latents for another key"),
            ((latents[1:] != latents[:-1]).any(axis=1).all(), "sample gives the same latent twice"),
        ]
        faults = [fault for holds, fault in rules if not holds]
    return latents, faults


def _image_faults(it: Generator, params: Params, latents: Latents) -> list[str]:
    render = jax.jit(it.synthesize)
    images = render(params, latents)
    faults = _shape_faults("synthesize", images, (ROWS, *it.image_shape))
    if faults:
        return faults
    room = FUSION * float(np.abs(images).max())
    away = np.abs(it.synthesize(params, latents) - images).max()
    rules = [
        ((render(params, latents) == images).all(), "synthesize gives other images when asked again"),
        (away <= room, f"synthesize is off by {away:.2g} when it is compiled"),
        (
            np.abs(render(params, latents[::-1])[::-1] - images).max() <= room,
            "synthesize gives an image that depends on the others of its batch",
        ),
        (np.abs(np.diff(images, axis=0)).max() > 2 / 255, "synthesize gives the same image for all latents"),
        (
            np.mean(np.abs(images)) < LARGEST,
            f"pixels are {np.mean(np.abs(images)):.3g} on average, expected images in [-1, 1]",
        ),
    ]
    return [*(fault for holds, fault in rules if not holds), *_slope_faults(it, params, latents)]


def _slope_faults(it: Generator, params: Params, latents: Latents) -> Iterator[str]:
    """Attribution descends: the gradient along a random direction, beside a difference quotient."""
    direction = STEP * jnp.std(latents) * jax.random.normal(rng.stream(rng.root(7), "from"), latents.shape)
    weights = jax.random.normal(rng.stream(rng.root(7), "to"), (ROWS, *it.image_shape))
    gradient = jax.jit(jax.grad(lambda w: jnp.vdot(weights, it.synthesize(params, w))))(latents)
    slope = float(jnp.vdot(gradient, direction))
    render = jax.jit(it.synthesize)
    change = (render(params, latents + direction) - render(params, latents - direction)) / 2
    quotient = float(jnp.vdot(weights, change))
    if not np.isfinite(slope) or slope == 0:
        yield f"the gradient of synthesize gives {slope}: attribution cannot descend"
    elif abs(slope - quotient) > SLOPE * float(jnp.linalg.norm(change)):
        yield f"the gradient of synthesize gives {slope:.4g} where the images change by {quotient:.4g}"


def _option_faults(it: Generator, params: Params, latents: Latents) -> list[str]:
    faults: list[str] = []
    render = jax.jit(it.synthesize)
    images = render(params, latents)
    if it.encode is not None:
        faults += _shape_faults("encode", jax.jit(it.encode)(params, images), latents.shape)
    if it.renoise is not None:
        fresh = it.renoise(params, rng.root(1), ROWS)
        faults += _shape_faults("synthesize with renoise", render(fresh, latents), images.shape)
    if it.regenerate is not None:
        again: Callable[..., Latents] = jax.jit(it.regenerate, static_argnums=3)
        faults += _shape_faults("regenerate", again(params, rng.root(1), latents, 0.5), latents.shape)
    if it.fold is not None:
        axes, offset = np.eye(it.latent_dim, dtype=np.float32)[:2], np.asarray(latents[0])
        folded = render(it.fold(params, axes, offset), latents)
        expected = render(params, latents - latents @ axes.T @ axes + offset[None])
        away = np.abs(folded - expected).max()
        if not away <= 10 * FUSION * np.abs(expected).max():
            faults += [f"fold gives parameters whose images are off by {away:.2g}"]
    return faults
