"""The interface that everything hangs on: what the method needs of an image generator.

A generator is g: latent w in R^d -> image. It must be deterministic given its parameters, so fixed noise maps
are part of the parameters. Latents are flat vectors here; a generator whose latent is a map reshapes inside.
No caller asks which kind of generator it holds.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, ParamSpec

import jax
import numpy as np

from latentfp.types import Images, Key, Latents, Params

Fields = ParamSpec("Fields")


class PaperSearch(NamedTuple):
    """How the search of Nie et al. 2023 was set for a kind of generator; the default is that for StyleGAN2.

    starts: from how many contents it descends. penalty: on each unit of content beyond three standard
    deviations. start_shift: starts lie between -start_shift and 2 - start_shift standard deviations.
    """

    starts: int = 20
    penalty: float = 0.1
    start_shift: float = 1.0


class Generator(NamedTuple):
    """Pure functions and sizes. Equal generators share their compiled programs, see `cached_by_fields`.

    sample(params, key, n): n latents [n, d] of the prior in which the fingerprint is written (`n` is static).
    synthesize(params, w): images [b, h, w, 3], nominally in [-1, 1] and not clipped, one for each latent of
        [b, d].
    encode(params, images): an estimate of the latents [b, d], where the generator comes with one.
    renoise(params, key, n): parameters with fresh noise maps for each of n images, where there are any.
    fold(params, axes [k, d], offset [d]): parameters with which w makes what w - axesᵀ axes w + offset made
        before, where an ordinary generator of this kind can do that.
    regenerate(params, key, w, share): the latents with the noise of a `share` in (0, 1] of the diffusion, and
        diffused back, where the prior is a diffusion (`share` is static).
    channels: into how many equal parts the latent falls, as for a latent map flattened channel first.
    search: how the reference search is usually set for it.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> def sample(params, key, n):
    ...     return jax.random.normal(key, (n, 12))
    >>> def synthesize(params, w):
    ...     return jnp.tanh(w @ params["matrix"]).reshape(-1, 4, 4, 3)
    >>> generator = lf.Generator("mine", 12, (4, 4, 3), sample, synthesize)
    >>> params = {"matrix": jnp.eye(12, 48)}
    >>> lf.check_generator(generator, params)
    """

    name: str
    latent_dim: int
    image_shape: tuple[int, int, int]
    sample: Callable[[Params, Key, int], Latents]
    synthesize: Callable[[Params, Latents], Images]
    encode: Callable[[Params, Images], Latents] | None = None
    renoise: Callable[[Params, Key, int], Params] | None = None
    fold: Callable[[Params, np.ndarray, np.ndarray], Params] | None = None
    regenerate: Callable[[Params, Key, Latents, float], Latents] | None = None
    channels: int = 1
    search: PaperSearch = PaperSearch()


def cached_by_fields(make: Callable[Fields, Generator]) -> Callable[Fields, Generator]:
    """`make`, which gives the very same generator whenever it is asked for the same fields.

    JAX compiles a program anew for functions that it has not seen, so a generator that is loaded twice must
    have the same ones. `synthesize` is compiled, so that it is traced once for all programs that render.
    Fields may hold lists and dictionaries, as JSON does.
    """
    signature = inspect.signature(make)
    made: dict[Any, Generator] = {}

    @functools.wraps(make)
    def cached(*args: Fields.args, **fields: Fields.kwargs) -> Generator:
        bound = signature.bind(*args, **fields)
        bound.apply_defaults()
        asked = _hashable(bound.arguments)
        if asked not in made:
            generator = make(*args, **fields)
            made[asked] = generator._replace(synthesize=jax.jit(generator.synthesize))
        return made[asked]

    return cached


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple(sorted((name, _hashable(inner)) for name, inner in value.items()))
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value
