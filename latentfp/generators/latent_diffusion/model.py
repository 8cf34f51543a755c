"""Latent diffusion behind the generator interface: the latent is what the diffusion makes, scaled.

    sample: DDIM from noise → w = z · scale      synthesize: decode(w / scale)      encode: scale · encode(x)

An autoencoder alone is such a generator without a prior (`make_autoencoder`): whoever has latents from
elsewhere, as from a pipeline of a text, fits a fingerprint space to those. Latents are flattened in the order
channel, row, column, as in the public fingerprint code. Parameters: {"first_stage", "denoiser"}: the weights
of the two networks; of an autoencoder alone its own.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latentfp import rng
from latentfp.generators.generator import Generator, PaperSearch, cached_by_fields
from latentfp.generators.latent_diffusion import diffusion, first_stage
from latentfp.generators.latent_diffusion.diffusion import Table, Visits, ddim, last_share
from latentfp.generators.latent_diffusion.first_stage import FirstStage, LatentMaps
from latentfp.generators.latent_diffusion.tiny import TinyAutoencoder
from latentfp.generators.latent_diffusion.unet import UNet
from latentfp.types import Images, Key, Latents, Params

Autoencoder = FirstStage | TinyAutoencoder

SCHEDULES = ("linear", "cosine")
SEARCH = PaperSearch(starts=1, penalty=0.005, start_shift=0.0)


class LatentDiffusion(NamedTuple):
    """The two networks, for images of `size` pixels a side."""

    size: int
    first_stage: Autoencoder
    denoiser: UNet

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a latent map: rows, columns, channels."""
        side = self.size // self.first_stage.factor
        return side, side, self.first_stage.latent


def networks(*, size: int, first_stage: Mapping[str, Any], denoiser: Mapping[str, Any]) -> LatentDiffusion:
    """The networks of these fields. ValueError where the levels do not divide `size`."""
    stage = autoencoder(first_stage)
    nets = LatentDiffusion(size, stage, UNet(latent=stage.latent, **_hashable(denoiser)))
    factor = stage.factor * 2 ** (len(nets.denoiser.channels) - 1)
    if size < factor or size % factor:
        raise ValueError(f"size {size} is not a multiple of {factor}, by which these levels divide it")
    return nets


def autoencoder(network: Mapping[str, Any]) -> Autoencoder:
    """The autoencoder of these fields: those of a `TinyAutoencoder`, or of a `FirstStage`."""
    kind = TinyAutoencoder if "width" in network else FirstStage
    return kind(**_hashable(network))


def _hashable(fields: Mapping[str, Any]) -> dict[str, Any]:
    """With tuples for lists, as JSON has them, so that networks can be keys."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def init(nets: LatentDiffusion, key: Key) -> Params:
    """Random weights of both networks."""
    blank, times = jnp.zeros((1, *nets.shape)), jnp.zeros(1)
    return {
        "first_stage": first_stage.init(nets.first_stage, key, nets.size),
        "denoiser": nets.denoiser.init(rng.stream(key, "denoiser"), blank, times)["params"],
    }


def signal_of(name: str, betas: Sequence[float] = (0.0015, 0.0195)) -> Table:
    """The schedule of this name: linear between `betas`, or cosine."""
    if name not in SCHEDULES:
        raise ValueError(f"schedule {name!r} is not one of {SCHEDULES}")
    start, end = betas
    return diffusion.linear(start, end) if name == "linear" else diffusion.cosine()


def flatten(z: LatentMaps) -> Latents:
    """Maps [b, i, j, z] to vectors [b, d] in the order channel, row, column."""
    return z.transpose(0, 3, 1, 2).reshape(z.shape[0], -1)


def unflatten(w: Latents, shape: tuple[int, int, int]) -> LatentMaps:
    """Vectors [b, d] to maps of `shape` (rows, columns, channels)."""
    rows, columns, channels = shape
    return w.reshape(w.shape[0], channels, rows, columns).transpose(0, 2, 3, 1)


def decode(stage: Autoencoder, params: Params, z: LatentMaps) -> Images:
    """The images of latents in the first stage's own units."""
    return cast(Images, stage.apply({"params": params}, z, method=stage.decode))


def moments(stage: Autoencoder, params: Params, images: Images) -> Float[Array, "b i j c"]:
    """What the encoder says of images, see `FirstStage.moments`."""
    return cast(Array, stage.apply({"params": params}, images, method=stage.moments))


def denoise(unet: UNet, params: Params, z: LatentMaps, times: Float[Array, " b"]) -> LatentMaps:
    """The noise in noisy latents at these times."""
    return cast(LatentMaps, unet.apply({"params": params}, z, times))


@cached_by_fields
def make_autoencoder(*, size: int, network: Mapping[str, Any], scale: float, shift: float = 0.0) -> Generator:
    """The generator of an autoencoder, for images of `size` pixels a side.

    Its latents are w = (z - shift) · scale of the network's own, as pipelines count them. It has no
    prior: `sample` raises ValueError. ValueError where the levels do not divide `size`.
    """
    stage = autoencoder(network)
    if size < stage.factor or size % stage.factor:
        raise ValueError(f"size {size} is not a multiple of {stage.factor}, by which its levels divide it")
    side = size // stage.factor
    shape = (side, side, stage.latent)

    def sample(params: Params, key: Key, n: int) -> Latents:
        del params, key, n
        raise ValueError(
            "an autoencoder alone draws no latents: give those of your pipeline, `latentfp fit --latents`"
        )

    def synthesize(params: Params, w: Latents) -> Images:
        return decode(stage, params, unflatten(w, shape) / scale + shift)

    def encode(params: Params, images: Images) -> Latents:
        return (flatten(moments(stage, params, images)[..., : stage.latent]) - shift) * scale

    dimensions = int(np.prod(shape))
    return Generator(
        "first_stage",
        dimensions,
        (size, size, 3),
        sample,
        synthesize,
        encode,
        channels=stage.latent,
        search=SEARCH,
    )


@cached_by_fields
def make(
    *,
    size: int,
    first_stage: Mapping[str, Any],
    denoiser: Mapping[str, Any],
    scale: float,
    schedule: str = "linear",
    betas: Sequence[float] = (0.0015, 0.0195),
    spacing: str = "latent_diffusion",
    first: int = 1,
    last: float | None = None,
    steps: int = 50,
    eta: float = 1.0,
) -> Generator:
    """The generator of `networks(...)`.

    `scale` makes the first stage's latents of unit variance; a prior sample takes `steps` DDIM steps with
    `eta` through a schedule, linear from the first of `betas` to the last. They visit times from `first` on,
    spaced as latent diffusion or diffusers does; after the latter's last step ā is `last`, or ā_0.
    """
    nets = networks(size=size, first_stage=first_stage, denoiser=denoiser)
    visits = _visits(signal_of(schedule, betas), spacing, steps, first, last)

    def back(params: Params, visits: Visits, key: Key, z: LatentMaps) -> Latents:
        epsilon = partial(denoise, nets.denoiser, params["denoiser"])
        return flatten(ddim(epsilon, visits, rng.stream(key, "ddim"), z, eta=eta))

    def sample(params: Params, key: Key, n: int) -> Latents:
        return back(params, visits, key, jax.random.normal(rng.stream(key, "noise"), (n, *nets.shape)))

    def regenerate(params: Params, key: Key, w: Latents, share: float) -> Latents:
        last = last_share(visits, share)
        noise = jax.random.normal(rng.stream(key, "noise"), (w.shape[0], *nets.shape))
        z = np.sqrt(last.signal[0]) * unflatten(w, nets.shape) + np.sqrt(1 - last.signal[0]) * noise
        return back(params, last, key, z)

    def synthesize(params: Params, w: Latents) -> Images:
        return decode(nets.first_stage, params["first_stage"], unflatten(w, nets.shape) / scale)

    def encode(params: Params, images: Images) -> Latents:
        found = moments(nets.first_stage, params["first_stage"], images)
        return scale * flatten(found[..., : nets.first_stage.latent])

    dimensions = int(np.prod(nets.shape))
    return Generator(
        "latent_diffusion",
        dimensions,
        (size, size, 3),
        sample,
        synthesize,
        encode,
        regenerate=regenerate,
        channels=nets.shape[2],
        search=SEARCH,
    )


def _visits(signal: Table, spacing: str, steps: int, first: int, last: float | None) -> Visits:
    if spacing == "latent_diffusion":
        return diffusion.spaced(signal, steps, first=first)
    if spacing == "diffusers":
        return diffusion.leading(signal, steps, first=first, last=float(signal[0]) if last is None else last)
    raise ValueError(f"spacing {spacing!r} is not latent_diffusion or diffusers")
