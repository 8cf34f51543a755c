"""A small decoder that nobody trained: its readings stay near the mean of the prior."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from linear_space import write_deployment

from latentfp.attribution.decoder import Decoder, TrainedDecoder, blank
from latentfp.deployment import decoders
from latentfp.deployment.deployment import Deployment, load_generator, open_deployment

NETWORK: dict[str, Any] = {"channels": 4, "squeeze": 3, "width": 8, "blocks": 1}
SHY = 0.01  # factor of the moves, as initialised


def small_decoder(
    *, content: int, bits: int, size: int = 16, iterations: int = 2, seed: int = 0
) -> TrainedDecoder:
    """For images of `size` × `size`; its hash is none."""
    decoder = Decoder(content=content, bits=bits, **NETWORK)
    image, reading = jnp.zeros((1, size, size, 3)), blank(1, content=content, bits=bits)
    weights: dict[str, Any] = {**decoder.init(jax.random.key(seed), image, image, reading)["params"]}
    weights["move"] = {**weights["move"], "kernel": SHY * weights["move"]["kernel"]}
    return TrainedDecoder(decoder, weights, iterations, "0" * 64)


def write_decoder(
    folder: Path, deployment: Deployment, *, iterations: int = 2, seed: int = 0, **other: Any
) -> Path:
    """A decoder folder for a deployment; `other`: what it says that it was trained for instead."""
    content, bits = (len(axes) for axes in (deployment.space.content_axes, deployment.space.code_axes))
    size = load_generator(deployment).generator.image_shape[0]
    made = small_decoder(content=content, bits=bits, size=size, iterations=iterations, seed=seed)
    belongs = {**decoders.belonging(deployment), **other}
    decoders.save(folder, made.weights, network=NETWORK, iterations=iterations, belongs=belongs)
    return folder


def deployment_with_decoder(folder: Path) -> Path:
    """A deployment of a linear generator: images of 16 × 16, codes of 32 bits, and a decoder."""
    path = write_deployment(folder, size=16)
    opened = open_deployment(path)
    decoders.adopt(opened, write_decoder(folder / "decoder", opened))
    return path
