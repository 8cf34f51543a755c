"""Decoders on disk: a folder that belongs to one fingerprint space and says so by hash.

    decoder.json            sizes, number of iterations, and hashes of what it was trained for
    weights.safetensors     float16, under their path in the parameter tree ("conv0/kernel")

A decoder reads the codes of every user of every deployment with the same basis, generator, strength and
coding, and of no other: `load` refuses it there.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import traverse_util
from safetensors import SafetensorError

from latentfp import rng
from latentfp.attribution.decoder import Decoder, TrainedDecoder, blank
from latentfp.deployment.deployment import BASIS, Deployment, load_generator
from latentfp.deployment.manifest import sha256
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained
from latentfp.runtime.files import replacing
from latentfp.types import Params

DESCRIPTION, WEIGHTS, FOLDER = "decoder.json", "weights.safetensors", "decoder"
FORMAT = 1


def belonging(deployment: Deployment) -> dict[str, Any]:
    """What a decoder must have been trained for to read the images of a deployment."""
    manifest = deployment.manifest
    return {
        "basis": manifest.parts[BASIS],
        "generator": manifest.generator.identity,
        "sigma": manifest.sigma,
        "shift": manifest.shift,
        "bits": manifest.bits,
        "coding": manifest.coding,
        "rotation": manifest.rotation,
    }


def save(
    folder: Path, weights: Params, *, network: Mapping[str, int], iterations: int, belongs: Mapping[str, Any]
) -> None:
    """Write a decoder folder. `network`: the sizes of attribution.decoder.Decoder."""
    flat = traverse_util.flatten_dict(weights, sep="/")
    data = safetensors.numpy.save({name: np.asarray(value, np.float16) for name, value in flat.items()})
    description = {
        "format": FORMAT,
        "network": dict(network),
        "iterations": iterations,
        "belongs": dict(belongs),
        "weights": sha256(data),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in ((WEIGHTS, data), (DESCRIPTION, json.dumps(description, indent=2).encode() + b"\n")):
        with replacing(folder / name) as fresh:
            fresh.write_bytes(content)


def load(folder: Path, deployment: Deployment, loaded: Pretrained | None = None) -> TrainedDecoder:
    """The decoder in `folder`. ValueError: none there, damaged, or trained for something else.

    `loaded`: the deployment's generator, where it was loaded before.
    """
    if not (folder / DESCRIPTION).is_file() or not (folder / WEIGHTS).is_file():
        raise ValueError(f"{folder} holds no decoder: expected {DESCRIPTION} and {WEIGHTS}")
    description, data = _describe(folder / DESCRIPTION), (folder / WEIGHTS).read_bytes()
    if sha256(data) != description["weights"]:
        raise ValueError(
            f"{folder / WEIGHTS} is not the file that {DESCRIPTION} names: get the decoder again"
        )
    others = _differences(description, deployment)
    if others:
        raise ValueError(
            f"the decoder in {folder} was trained for another deployment: {'; '.join(others)}; "
            "train one for this deployment as configs/decoder_stylegan2_avatars.py does"
        )
    generator = (load_generator(deployment) if loaded is None else loaded).generator
    return _assemble(folder, description, data, deployment, generator.image_shape)


def belongs(folder: Path, deployment: Deployment) -> bool:
    """Whether the decoder in `folder` says that it was trained for this deployment."""
    return not _differences(_describe(folder / DESCRIPTION), deployment)


def _differences(description: Mapping[str, Any], deployment: Deployment) -> list[str]:
    stated = description["belongs"]
    return [
        f"{name} {stated.get(name)} instead of {value}"
        for name, value in belonging(deployment).items()
        if stated.get(name) != value
    ]


def _describe(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_bytes())
        if description["format"] != FORMAT:
            raise ValueError(f"format {description['format']!r}, expected {FORMAT}")
        network = description["network"]
        if network.keys() != {"channels", "squeeze", "width", "blocks"}:
            raise ValueError(f"sizes {sorted(network)}")
        kinds = (isinstance(description["belongs"], dict), isinstance(description["weights"], str))
        sizes, count = list(network.values()), description["iterations"]
        counts = all(type(number) is int for number in (*sizes, count))
        if not all(kinds) or not counts or not 1 <= count <= 64 or min(sizes[:3]) < 1:
            raise ValueError("fields of the wrong kind")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no description of a decoder ({error!r}): get the decoder again"
        ) from None
    return description


def _assemble(
    folder: Path,
    description: dict[str, Any],
    data: bytes,
    deployment: Deployment,
    image_shape: tuple[int, int, int],
) -> TrainedDecoder:
    content, bits = (len(axes) for axes in (deployment.space.content_axes, deployment.space.code_axes))
    decoder = Decoder(content=content, bits=bits, **description["network"])
    image = jnp.zeros((1, *image_shape))
    template = jax.eval_shape(decoder.init, rng.root(0), image, image, blank(1, content=content, bits=bits))
    wanted: dict[str, Any] = dict(traverse_util.flatten_dict(template["params"], sep="/"))
    try:
        found = safetensors.numpy.load(data)
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} is not a safetensors file: {error}") from None
    shapes = ({n: leaf.shape for n, leaf in tree.items()} for tree in (found, wanted))
    odd = sorted({name for name, _ in set.symmetric_difference(*(set(shape.items()) for shape in shapes))})
    if odd:
        raise ValueError(f"{folder / WEIGHTS} does not fit {DESCRIPTION}: missing, unused or misshapen {odd}")
    arrays = {name: jnp.asarray(array, jnp.float32) for name, array in found.items()}
    weights = traverse_util.unflatten_dict(arrays, sep="/")
    return TrainedDecoder(decoder, weights, description["iterations"], description["weights"])


def shipped(generator: str) -> Path | None:
    """The folder of the decoder that comes with a shipped generator."""
    folder = pretrained.SHIPPED / generator / FOLDER
    return folder if generator in pretrained.shipped() and (folder / DESCRIPTION).is_file() else None


def find(deployment: Deployment, loaded: Pretrained | None = None) -> TrainedDecoder | None:
    """The decoder in the deployment's own folder, if it has one; `loaded` as for `load`."""
    folder = deployment.path / FOLDER
    return load(folder, deployment, loaded) if folder.exists() else None


def hash_of(deployment: Deployment) -> str:
    """The hash of the own decoder's weights, as its description says; empty where there is none."""
    folder = deployment.path / FOLDER
    return _describe(folder / DESCRIPTION)["weights"] if folder.exists() else ""


def adopt(deployment: Deployment, folder: Path) -> TrainedDecoder:
    """Copy a decoder into the deployment, in place of the one that is there. ValueError as by `load`."""
    trained = load(folder, deployment)
    fresh, target, old = (deployment.path / (FOLDER + suffix) for suffix in (".new", "", ".old"))
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.mkdir()
    for name in (WEIGHTS, DESCRIPTION):
        shutil.copyfile(folder / name, fresh / name)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return trained
