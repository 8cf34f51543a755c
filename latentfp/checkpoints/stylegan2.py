"""StyleGAN2 of the rosinality port and of NVIDIA, as fields and parameters of our networks, and back.

All store the same numbers: weights of unit variance that are scaled when used, biases of the mapping network
divided by its learning-rate multiplier, kernels of the doubling convolution unflipped. They differ in names
and in layout (NCHW and OIHW there, NHWC and HWIO here). Rosinality numbers its layers in the order of the
noise maps; NVIDIA names them by resolution, as we do.

The architecture is read off the tensors' shapes; then the mapping is total (`adopt`). Other activations and
learning-rate multipliers are refused: they could be read and would then compute something else.

NVIDIA's pickles hold {"G", "D", "G_ema", …}. Each network, and each module inside it, is a call of
`_reconstruct_persistent_obj` on a record with the source text of its class (which the original loader
executes and this one drops) and its `state`: parameters, buffers, submodules and plain attributes. Every
tensor is a byte string that is itself a file in PyTorch's older format.
"""

from collections.abc import Mapping
from fnmatch import filter as matching
from typing import Any

import jax.numpy as jnp
import numpy as np

from latentfp import rng
from latentfp.checkpoints import torch_files
from latentfp.checkpoints.adopt import Change, Imported, NameTable, Rule, adopt, ignored, restore
from latentfp.checkpoints.configurations import check
from latentfp.checkpoints.pickles import Builders, expect, load
from latentfp.checkpoints.torch_files import PathLike, flatten, opened
from latentfp.generators import pretrained
from latentfp.generators.stylegan2 import model
from latentfp.generators.stylegan2.networks import resolutions, sample
from latentfp.generators.stylegan2.ops import FIR
from latentfp.types import Latent, Params

Tensors = Mapping[str, np.ndarray]
Settings = Mapping[str, Any]
Arrangement = tuple[Change, Change]  # from the source's arrangement of an array to ours, and back
# Parameters of a module: our path below it -> (the source's path below it, its arrangement).
Leaves = Mapping[str, tuple[str, Arrangement]]

AVERAGED_LATENTS = 4096
NOISE_SEED = 0  # of the maps of a network that comes without
EMBEDDING = "mapping.embed.weight"  # of the labels, in NVIDIA's networks
MAX_DEPTH = 16
MAX_MODULES = 10_000

# Settings of NVIDIA's modules (by pattern) and the values that our networks have built in.
SUPPORTED = {
    "img_channels": (3,),
    "mapping.fc*.bias_gain": (0.01,),
    "mapping.embed.bias_gain": (1,),
    "mapping.embed.activation": ("linear",),
    "*.use_noise": (True,),
    "*.activation": ("lrelu", "linear"),
}
STYLEGAN3 = (
    "it is a StyleGAN3, whose layers are others than StyleGAN2's: of NVIDIA's pickles only StyleGAN2 is read "
    "(the stylegan3 code makes it, too, with --cfg=stylegan2); wrap it as a generator of your own, see "
    "docs/extend.md"
)


def _same(x: np.ndarray) -> np.ndarray:
    return x


def _hwio(x: np.ndarray) -> np.ndarray:
    return x.reshape(x.shape[-4:]).transpose(2, 3, 1, 0)


def _hwc(x: np.ndarray) -> np.ndarray:
    return x.reshape(x.shape[-3:]).transpose(1, 2, 0)


def _row(x: np.ndarray) -> np.ndarray:
    """[n, d] of equal rows, as pSp repeats an average for every layer, or [d]."""
    return x[0] if x.ndim == 2 and (x == x[:1]).all() else np.ravel(x)


SAME: Arrangement = (_same, _same)
OI: Arrangement = (np.transpose, np.transpose)  # ours: [in, out]
OIHW: Arrangement = (_hwio, lambda x: x.transpose(3, 2, 0, 1))  # ours: [h, w, in, out]
ONE_OIHW: Arrangement = (_hwio, lambda x: x.transpose(3, 2, 0, 1)[None])
CHW: Arrangement = (_hwc, lambda x: x.transpose(2, 0, 1))  # ours: [h, w, c]
ONE_CHW: Arrangement = (_hwc, lambda x: x.transpose(2, 0, 1)[None])
ONE_ONE_HW: Arrangement = (np.squeeze, lambda x: x[None, None])
ONE_C_ONE_ONE: Arrangement = (np.squeeze, lambda x: x[None, :, None, None])
ONE: Arrangement = (np.squeeze, lambda x: x[None])  # ours: a number
ROW: Arrangement = (_row, np.ravel)

DENSE: Leaves = {"kernel": ("weight", OI), "bias": ("bias", SAME)}
ROSINALITY_MODULATED: Leaves = {
    "conv/kernel": ("conv.weight", ONE_OIHW),
    "conv/affine/kernel": ("conv.modulation.weight", OI),
    "conv/affine/bias": ("conv.modulation.bias", SAME),
}
ROSINALITY_TO_RGB: Leaves = {**ROSINALITY_MODULATED, "bias": ("bias", ONE_C_ONE_ONE)}
ROSINALITY_STYLED: Leaves = {
    **ROSINALITY_MODULATED,
    "noise_strength": ("noise.weight", ONE),
    "bias": ("activate.bias", SAME),
}
NVIDIA_TO_RGB: Leaves = {
    "conv/kernel": ("weight", OIHW),
    "conv/affine/kernel": ("affine.weight", OI),
    "conv/affine/bias": ("affine.bias", SAME),
    "bias": ("bias", SAME),
}
NVIDIA_STYLED: Leaves = {**NVIDIA_TO_RGB, "noise_strength": ("noise_strength", SAME)}

FILTER = np.outer(FIR, FIR)
DOUBLING_FILTER = 4 * FILTER  # rosinality stores it with the gain of 2 per axis
ROSINALITY_IGNORED = {
    "d.*": "the discriminator is not needed to generate",
    "g.*": "the generator before averaging",
    "g_optim.*": "the generator's optimiser",
    "d_optim.*": "the discriminator's optimiser",
    "ada_aug_p": "the state of the augmentation",
    "state_dict.*": "of the inverter (pSp) that the generator comes in, which is not needed to generate",
}


def from_rosinality(tree: Any) -> Imported:
    """The generator of {"g_ema": state, "latent_avg": [d], …}, as `read_tensors` returns it.

    Or of {"state_dict": {"decoder.…"}, "opts", "latent_avg"}, in which pSp and its kin keep one. Training
    checkpoints have no "latent_avg"; then it is the mean over 4096 fixed draws, as the port estimates it.
    Files of the port's early days have no "noises"; then maps are drawn from a seed, which is in the result.
    """
    tensors = _of_decoder(flatten(tree))
    size = _size(tensors, "g_ema.to_rgbs.*.conv.weight")
    convs = ["g_ema.conv1", *(f"g_ema.convs.{2 * i}" for i in range(len(resolutions(size)) - 1))]
    fields = {
        "size": size,
        "channels": [_extent(tensors, f"{conv}.conv.weight", 1) for conv in convs],
        "latent_dim": _extent(tensors, "g_ema.style.1.weight", 0),
        "mapping_layers": len(matching(tensors, "g_ema.style.*.weight")),
    }
    averaged, noisy = "latent_avg" in tensors, any(matching(tensors, "g_ema.noises.*"))
    source, notes = dict(tensors), []
    if not averaged:
        source["latent_avg"] = np.zeros(fields["latent_dim"], np.float32)
        notes.append(f"no average latent in the file: estimated from {AVERAGED_LATENTS} fixed draws")
    if not noisy:
        maps = model.fixed_noise(size, NOISE_SEED)
        source |= {f"g_ema.noises.noise_{i}": np.asarray(each)[None, None] for i, each in enumerate(maps)}
        notes.append(f"no noise maps in the file: fixed ones are drawn from seed {NOISE_SEED}, which is kept")
    table = rosinality_generator(size, fields["mapping_layers"])
    params = adopt(source, table, pretrained.shapes("stylegan2", fields, None))
    params = params if averaged else {**params, "w_average": _average(fields, params)}
    seed = None if noisy else NOISE_SEED
    return Imported("stylegan2", fields, params, ignored(source, table), seed, tuple(notes))


def from_nvidia(settings: Settings, tensors: Tensors) -> Imported:
    """The generator that `read_network(path, "G_ema")` returned, with classes or without."""
    if any(matching(tensors, "synthesis.L[0-9]*.weight")):
        raise ValueError(STYLEGAN3)
    classes = _extent(tensors, EMBEDDING, 1) if EMBEDDING in tensors else 0
    check(settings, {**SUPPORTED, "c_dim": (classes,)}, "this network")
    size = _size(tensors, "synthesis.b*.conv0.weight")
    embedded = _extent(tensors, EMBEDDING, 0) if classes else 0
    fields = {
        "size": size,
        "channels": [_extent(tensors, f"synthesis.b{r}.conv1.weight", 0) for r in resolutions(size)],
        "latent_dim": _extent(tensors, "mapping.w_avg", 0),
        "z_dim": max(1, _extent(tensors, "mapping.fc0.weight", 1) - embedded),
        "mapping_layers": len(matching(tensors, "mapping.fc*.weight")),
        "classes": classes,
        "clamp": _clamp(settings),
    }
    table = nvidia_generator(size, fields["mapping_layers"], labelled=classes > 0)
    params = adopt(tensors, table, pretrained.shapes("stylegan2", fields, None))
    return Imported("stylegan2", fields, params, ignored(tensors, table))


def to_rosinality(fields: Mapping[str, Any], params: Params) -> dict[str, Any]:
    """{"g_ema": state, "latent_avg": [d]}: the inverse of `from_rosinality`.

    ValueError for a network that clamps, has classes, or a z of another size than w, which the port has not.
    """
    nets = model.networks(**fields)
    clamp, mapping = nets.synthesis.clamp, nets.mapping
    lacking = {
        f"clamps at {clamp}": clamp is not None,
        f"has {mapping.classes} classes": mapping.classes > 0,
        f"makes a w of {mapping.latent_dim} numbers from a z of {mapping.inputs}": mapping.inputs
        != mapping.latent_dim,
    }
    for what in [what for what, found in lacking.items() if found]:
        raise ValueError(f"this network {what}, which rosinality's cannot: use nvidia")
    tensors = restore(params, rosinality_generator(nets.synthesis.size, mapping.layers))
    average = tensors.pop("latent_avg")
    return {"g_ema": {name.removeprefix("g_ema."): x for name, x in tensors.items()}, "latent_avg": average}


def to_nvidia(fields: Mapping[str, Any], params: Params) -> dict[str, Any]:
    """{"G_ema": state, "settings"}: all parameters and buffers of the module, and what shapes do not say."""
    nets = model.networks(**fields)
    labelled = nets.mapping.classes > 0
    table = nvidia_generator(nets.synthesis.size, nets.mapping.layers, labelled=labelled)
    return {"G_ema": restore(params, table), "settings": {"synthesis.conv_clamp": nets.synthesis.clamp}}


def from_nvidia_state(tree: Any) -> Imported:
    """The generator of a file that `to_nvidia` made. ValueError for a state without its settings."""
    settings = tree.get("settings") if isinstance(tree, dict) else None
    if not isinstance(settings, dict) or not isinstance(tree["G_ema"], dict):
        raise ValueError("it has no settings (where its layers clamp): import the .pkl that it was made from")
    return from_nvidia(settings, flatten(tree["G_ema"]))


class Module:
    """One module of a network in a pickle of NVIDIA: the state it was saved with."""

    def __init__(self, record: Any):
        self.state = expect(expect(record, dict).get("state"), dict)

    def members(self, kind: str) -> list[tuple[str, Any]]:
        """Names and values of its "_parameters", "_buffers" or "_modules" that are not None."""
        values = expect(self.state.get(kind), dict)
        return [(str(name), value) for name, value in values.items() if value is not None]


BUILDERS: Builders = {
    **torch_files.BUILDERS,
    "torch_utils.persistence._reconstruct_persistent_obj": Module,
    "torch.storage._load_from_bytes": lambda raw: torch_files.read_legacy(expect(raw, bytes)),
}


def read_network(path: PathLike, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Settings and tensors of the network `name` ("G_ema", "G" or "D") of a .pkl file, both by dotted path.

    Settings are the plain attributes of every module, such as "c_dim" or "synthesis.b8.conv0.conv_clamp".
    Raises ValueError, with the path and the reason, for a damaged file or one that asks for a name that is
    not needed to hold weights. Nothing is executed.
    """
    with opened(path) as mapped:
        tree = expect(load(mapped, BUILDERS), dict)
        networks = {key: value for key, value in tree.items() if isinstance(value, Module)}
        if name not in networks:
            raise ValueError(f"it has no network {name}, only {', '.join(map(str, networks)) or 'none'}")
        return _collect(networks[name])


def _collect(network: Module) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    settings, tensors = {}, {}
    modules: list[tuple[str, Module]] = [("", network)]
    for prefix, module in modules:
        if prefix.count(".") > MAX_DEPTH or len(modules) > MAX_MODULES:
            raise ValueError(f"its modules are nested more than {MAX_DEPTH} deep or more than {MAX_MODULES}")
        for key, value in module.state.items():
            if not str(key).startswith("_") and isinstance(value, str | int | float | None):
                settings[f"{prefix}{key}"] = value
        for key, value in module.members("_parameters") + module.members("_buffers"):
            tensors[prefix + key] = expect(value, np.ndarray)
        modules += [(f"{prefix}{key}.", expect(child, Module)) for key, child in module.members("_modules")]
    return settings, tensors


def rosinality_generator(size: int, mapping_layers: int) -> NameTable:
    """Of a whole checkpoint {"g_ema", "latent_avg", …}, flattened."""
    rules = {
        "synthesis/const": Rule("g_ema.input.input", *ONE_CHW),
        "w_average": Rule("latent_avg", *ROW),
    }
    for i in range(mapping_layers):
        rules |= _rules(f"mapping/fc{i}", f"g_ema.style.{i + 1}", DENSE)
    for i, (resolution, name) in enumerate(conv_names(size)):
        source = f"g_ema.convs.{i - 1}" if i else "g_ema.conv1"
        rules |= _rules(f"synthesis/b{resolution}_{name}", source, ROSINALITY_STYLED)
        rules[f"noise/{i}"] = Rule(f"g_ema.noises.noise_{i}", *ONE_ONE_HW)
    for i, resolution in enumerate(resolutions(size)):
        source = f"g_ema.to_rgbs.{i - 1}" if i else "g_ema.to_rgb1"
        rules |= _rules(f"synthesis/b{resolution}_to_rgb", source, ROSINALITY_TO_RGB)
    doublings = range(len(resolutions(size)) - 1)
    filters = [f"g_ema.convs.{2 * i}.conv.blur.kernel" for i in doublings]
    filters += [f"g_ema.to_rgbs.{i}.upsample.kernel" for i in doublings]
    constants = dict.fromkeys(filters, DOUBLING_FILTER)
    return NameTable("a rosinality generator", rules, constants, ROSINALITY_IGNORED)


def nvidia_generator(size: int, mapping_layers: int, *, labelled: bool = False) -> NameTable:
    """Of the tensors of "G_ema" or "G"."""
    rules = {
        "synthesis/const": Rule("synthesis.b4.const", *CHW),
        "w_average": Rule("mapping.w_avg", *SAME),
    }
    for dense in ["embed"] * labelled + [f"fc{i}" for i in range(mapping_layers)]:
        rules |= _rules(f"mapping/{dense}", f"mapping.{dense}", DENSE)
    for i, (resolution, name) in enumerate(conv_names(size)):
        source = f"synthesis.b{resolution}.{name}"
        rules |= _rules(f"synthesis/b{resolution}_{name}", source, NVIDIA_STYLED)
        rules[f"noise/{i}"] = Rule(f"{source}.noise_const", *SAME)
    for resolution in resolutions(size):
        rules |= _rules(f"synthesis/b{resolution}_to_rgb", f"synthesis.b{resolution}.torgb", NVIDIA_TO_RGB)
    filtered = [f"b{r}" for r in resolutions(size)] + [f"b{r}.{name}" for r, name in conv_names(size)]
    filters = [f"synthesis.{module}.resample_filter" for module in filtered]
    return NameTable("an NVIDIA generator", rules, dict.fromkeys(filters, FILTER))


def conv_names(size: int) -> list[tuple[int, str]]:
    """(resolution, name) of every convolution of the synthesis network, in the order of the noise maps."""
    return [(4, "conv1")] + [(r, name) for r in resolutions(size)[1:] for name in ("conv0", "conv1")]


def _rules(target: str, source: str, leaves: Leaves) -> dict[str, Rule]:
    return {
        f"{target}/{ours}": Rule(f"{source}.{name}", *arrangement)
        for ours, (name, arrangement) in leaves.items()
    }


def _of_decoder(tensors: Tensors) -> Tensors:
    """With the generator that an inverter holds as its decoder under "g_ema", as in the port's own files."""
    inside = "state_dict.decoder."
    return {
        f"g_ema.{name.removeprefix(inside)}" if name.startswith(inside) else name: x
        for name, x in tensors.items()
    }


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


def _clamp(settings: Settings) -> float | None:
    """The one bound of all clamped layers."""
    clamps = {settings[name] for name in matching(settings, "*.conv_clamp")}
    if len(clamps) != 1:
        raise ValueError(f"its layers have {len(clamps)} different values of conv_clamp, supported is one")
    clamp = clamps.pop()
    return None if clamp is None else float(clamp)


def _average(fields: Mapping[str, Any], params: Params) -> Latent:
    mapping = model.networks(**fields).mapping
    key = rng.stream(rng.root(0), "average")
    return jnp.mean(sample(mapping, params["mapping"], key, AVERAGED_LATENTS), axis=0)
