"""StyleGAN2 checkpoints of the rosinality port and of NVIDIA, as fields and parameters of our networks.

The architecture is read off the tensors' shapes; then the mapping is total (`adopt`). Other activations and
learning-rate multipliers are refused: they could be read and would then compute something else.
"""

from collections.abc import Mapping
from fnmatch import filter as matching
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latentfp import rng
from latentfp.checkpoints import stylegan2_names as names
from latentfp.checkpoints.adopt import Imported, adopt, ignored, restore
from latentfp.checkpoints.torch_files import flatten
from latentfp.generators.stylegan2 import model
from latentfp.generators.stylegan2.discriminator import Discriminator
from latentfp.generators.stylegan2.mapping import sample
from latentfp.generators.stylegan2.synthesis import noise_sizes, resolutions
from latentfp.types import Latent, Params

Tensors = Mapping[str, np.ndarray]
Settings = Mapping[str, Any]

AVERAGED_LATENTS = 4096
EMBEDDING = "mapping.embed.weight"  # of the labels, in NVIDIA's networks

# Settings of NVIDIA's modules (by pattern) and the values that our networks have built in.
SUPPORTED = {
    "img_channels": (3,),
    "mapping.fc*.bias_gain": (0.01,),
    "mapping.embed.bias_gain": (1,),
    "mapping.embed.activation": ("linear",),
    "*.use_noise": (True,),
    "*.activation": ("lrelu", "linear"),
    "*.mbstd.num_channels": (1,),
}


def from_rosinality(tree: Any) -> Imported:
    """The generator of {"g_ema": state, "latent_avg": [d], …}, as `read_tensors` returns it.

    Training checkpoints have no "latent_avg"; then it is the mean over 4096 fixed draws, as the port
    estimates it.
    """
    tensors = flatten(tree)
    size = _size(tensors, "g_ema.to_rgbs.*.conv.weight")
    convs = ["g_ema.conv1", *(f"g_ema.convs.{2 * i}" for i in range(len(resolutions(size)) - 1))]
    fields = {
        "size": size,
        "channels": [_extent(tensors, f"{conv}.conv.weight", 1) for conv in convs],
        "latent_dim": _extent(tensors, "g_ema.style.1.weight", 0),
        "mapping_layers": len(matching(tensors, "g_ema.style.*.weight")),
    }
    table = names.rosinality_generator(size, fields["mapping_layers"])
    averaged = "latent_avg" in tensors
    source = tensors if averaged else {**tensors, "latent_avg": np.zeros(fields["latent_dim"], np.float32)}
    params = adopt(source, table, _generator_template(fields))
    params = params if averaged else {**params, "w_average": _average(fields, params)}
    return Imported("stylegan2", fields, params, ignored(source, table))


def from_nvidia(settings: Settings, tensors: Tensors) -> Imported:
    """The generator that `read_network(path, "G_ema")` returned, with classes or without."""
    classes = _extent(tensors, EMBEDDING, 1) if EMBEDDING in tensors else 0
    _check(settings, {**SUPPORTED, "c_dim": (classes,)})
    size = _size(tensors, "synthesis.b*.conv0.weight")
    fields = {
        "size": size,
        "channels": [_extent(tensors, f"synthesis.b{r}.conv1.weight", 0) for r in resolutions(size)],
        "latent_dim": _extent(tensors, "mapping.w_avg", 0),
        "mapping_layers": len(matching(tensors, "mapping.fc*.weight")),
        "classes": classes,
        "clamp": _clamp(settings),
    }
    table = names.nvidia_generator(size, fields["mapping_layers"], labelled=classes > 0)
    params = adopt(tensors, table, _generator_template(fields))
    return Imported("stylegan2", fields, params, ignored(tensors, table))


def to_rosinality(fields: Mapping[str, Any], params: Params) -> dict[str, Any]:
    """{"g_ema": state, "latent_avg": [d]}: the inverse of `from_rosinality`.

    ValueError for a network that clamps or has classes, which the port has not.
    """
    if fields.get("clamp") is not None:
        raise ValueError(
            f"this network clamps at {fields['clamp']:g}, which rosinality's does not: use nvidia"
        )
    if fields.get("classes"):
        raise ValueError(f"this network has {fields['classes']} classes, rosinality's has none: use nvidia")
    nets = model.networks(**fields)
    tensors = restore(params, names.rosinality_generator(nets.synthesis.size, nets.mapping.layers))
    average = tensors.pop("latent_avg")
    return {"g_ema": {name.removeprefix("g_ema."): x for name, x in tensors.items()}, "latent_avg": average}


def to_nvidia(fields: Mapping[str, Any], params: Params) -> dict[str, Any]:
    """{"G_ema": state}, every parameter and buffer of the module under its name."""
    nets = model.networks(**fields)
    labelled = nets.mapping.classes > 0
    table = names.nvidia_generator(nets.synthesis.size, nets.mapping.layers, labelled=labelled)
    return {"G_ema": restore(params, table)}


def discriminator_from_rosinality(tree: Any) -> Imported:
    """The discriminator of a training checkpoint {"d": state, …}, as `read_tensors` returns it."""
    tensors = flatten(tree)
    size = _size(tensors, "d.convs.*.skip.1.weight")
    blocks = range(len(resolutions(size)) - 1, 0, -1)
    widths = [_extent(tensors, f"d.convs.{i}.skip.1.weight", 0) for i in blocks]
    fields = {"size": size, "channels": [*widths, _extent(tensors, "d.convs.0.0.weight", 0)]}
    table = names.rosinality_discriminator(size)
    params = adopt(tensors, table, _discriminator_template(fields))
    return Imported("discriminator", fields, params, ignored(tensors, table))


def discriminator_from_nvidia(settings: Settings, tensors: Tensors) -> Imported:
    """The discriminator that `read_network(path, "D")` returned. Conditional discriminators are refused."""
    _check(settings, {**SUPPORTED, "c_dim": (0,)})
    size = _size(tensors, "b*.skip.weight")
    widths = [_extent(tensors, f"b{r}.skip.weight", 0) for r in resolutions(size)[1:]]
    fields = {
        "size": size,
        "channels": [*widths, _extent(tensors, f"b{size}.fromrgb.weight", 0)],
        "group": settings.get("b4.mbstd.group_size", 1),
        "clamp": _clamp(settings),
    }
    table = names.nvidia_discriminator(size)
    params = adopt(tensors, table, _discriminator_template(fields))
    return Imported("discriminator", fields, params, ignored(tensors, table))


def _size(tensors: Tensors, per_doubling: str) -> int:
    """The image size, from the number of tensors of which there is one for each doubling of 4×4."""
    doublings = len(matching(tensors, per_doubling))
    if not 2 <= doublings <= 8:
        raise ValueError(
            f"found {doublings} tensors {per_doubling}, one for each doubling of 4x4, expected 2 to 8 (16 to "
            f"1024 pixels): is it another kind of checkpoint? It holds {', '.join(sorted(tensors)[:4])} …"
        )
    return 4 * 2**doublings


def _extent(tensors: Tensors, name: str, axis: int) -> int:
    """The size of one axis; 1 where the tensor is missing or of lower rank, which `adopt` then reports."""
    shape = tensors[name].shape if name in tensors else ()
    return shape[axis] if axis < len(shape) else 1


def _check(settings: Settings, supported: Mapping[str, tuple[Any, ...]]) -> None:
    wrong = [
        f"{name} is {settings[name]!r}, supported is {' or '.join(map(repr, values))}"
        for pattern, values in supported.items()
        for name in matching(settings, pattern)
        if settings[name] not in values
    ]
    if wrong:
        raise ValueError(f"this network has settings that are not supported: {'; '.join(wrong[:8])}")


def _clamp(settings: Settings) -> float | None:
    """The one bound of all clamped layers; the discriminator's skip connections are never clamped."""
    layers = [name for name in matching(settings, "*.conv_clamp") if not name.endswith("skip.conv_clamp")]
    clamps = {settings[name] for name in layers}
    if len(clamps) != 1:
        raise ValueError(f"its layers have {len(clamps)} different values of conv_clamp, supported is one")
    clamp = clamps.pop()
    return None if clamp is None else float(clamp)


def _generator_template(fields: Mapping[str, Any]) -> Params:
    nets = model.networks(**fields)
    weights = jax.eval_shape(lambda: model.init(nets, rng.root(0)))
    noise = tuple(jax.ShapeDtypeStruct((n, n), jnp.float32) for n in noise_sizes(fields["size"]))
    average = jax.ShapeDtypeStruct((fields["latent_dim"],), jnp.float32)
    return {**weights, "noise": noise, "w_average": average}


def _discriminator_template(fields: Mapping[str, Any]) -> Params:
    images = jax.ShapeDtypeStruct((1, fields["size"], fields["size"], 3), jnp.float32)
    return jax.eval_shape(Discriminator(**fields).init, rng.root(0), images)["params"]


def _average(fields: Mapping[str, Any], params: Params) -> Latent:
    mapping = model.networks(**fields).mapping
    key = rng.stream(rng.root(0), "average")
    return jnp.mean(sample(mapping, params["mapping"], key, AVERAGED_LATENTS), axis=0)
