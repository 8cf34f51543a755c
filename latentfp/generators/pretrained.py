"""Opening generators: by the name of a shipped one, by folder, or one of your own (custom.py).

A folder holds `generator.json` and `weights.safetensors`, of a generator or of a part of one, the first stage
of a latent diffusion, for a training to go on from.

`generator.json` holds the kind of generator, the fields that make it, the seed of its fixed noise maps (null
where the weights hold the maps), the SHA-256 of the weights, and for an import what it was made of; the
weights are float16 or float32 arrays under their path in the parameter tree ("synthesis/b4_conv1/bias").
Training writes such a folder into its workdir; `fit` reads one by name or path.

The identity of a stored generator is the SHA-256 of {"fields", "kind", "noise_seed", "weights"} as JSON with
sorted keys and no spaces, where "weights" is the SHA-256 of the weights file: it is the same wherever the
folder lies.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

from latentfp import rng
from latentfp.generators import custom, linear
from latentfp.generators.generator import Generator
from latentfp.generators.latent_diffusion import first_stage
from latentfp.generators.latent_diffusion import model as latent_diffusion
from latentfp.generators.stylegan2 import model as stylegan2
from latentfp.runtime.files import file_hash, replacing
from latentfp.types import Params, by_path

SHIPPED = Path(__file__).parent / "weights"
DESCRIPTION, WEIGHTS = "generator.json", "weights.safetensors"


class Pretrained(NamedTuple):
    """A generator with its parameters, and what identifies both.

    name: a shipped name, an absolute path, `package.module:make`, or the own name of one that was given.
    identity: the SHA-256 of its contents. folder: where it is stored; None for one of your own.
    """

    generator: Generator
    params: Params
    name: str
    identity: str
    folder: Path | None = None


# What opens as a generator.
Source = str | os.PathLike[str] | tuple[Generator, Params] | Pretrained


class Stored(NamedTuple):
    """A folder's contents: `params` are those that are stored."""

    kind: str
    fields: dict[str, Any]
    params: Params
    sha256: str
    noise_seed: int | None
    source: dict[str, Any] | None


class Kind(NamedTuple):
    """What there is to know about one kind of generator.

    make(**fields): the generator.
    template(fields): parameters of the right shapes, all that is stored.
    derived(fields, seed): the parameters that follow from the seed.
    """

    make: Callable[..., Generator]
    template: Callable[[Mapping[str, Any]], Params]
    derived: Callable[[Mapping[str, Any], int], Params] = lambda _fields, _seed: {}


def _stylegan2_template(fields: Mapping[str, Any]) -> Params:
    nets = stylegan2.networks(**fields)
    return {**stylegan2.init(nets, rng.root(0)), "w_average": jnp.zeros(nets.mapping.latent_dim)}


def _first_stage_template(fields: Mapping[str, Any]) -> Params:
    return first_stage.init(latent_diffusion.autoencoder(fields["network"]), rng.root(0), fields["size"])


def _latent_diffusion_template(fields: Mapping[str, Any]) -> Params:
    parts = {name: fields[name] for name in ("size", "first_stage", "denoiser")}
    return latent_diffusion.init(latent_diffusion.networks(**parts), rng.root(0))


KINDS = {
    "linear": Kind(
        linear.make,
        lambda fields: linear.init(rng.root(0), **{k: v for k, v in fields.items() if k != "gain"}),
    ),
    "stylegan2": Kind(
        stylegan2.make,
        _stylegan2_template,
        lambda fields, seed: {"noise": stylegan2.fixed_noise(fields["size"], seed)},
    ),
    "first_stage": Kind(latent_diffusion.make_autoencoder, _first_stage_template),
    "latent_diffusion": Kind(latent_diffusion.make, _latent_diffusion_template),
}


def shipped() -> list[str]:
    """The names of the generators in the package."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{DESCRIPTION}"))


def save(
    folder: Path,
    *,
    kind: str,
    fields: Mapping[str, Any],
    params: Params,
    noise_seed: int | None,
    half: bool = True,
    source: Mapping[str, Any] | None = None,
) -> None:
    """Write a generator folder; `half` stores float16. Parameters that follow from the seed are left out.

    `source`: what an imported generator was made of.
    """
    flat = by_path({name: params[name] for name in shapes(kind, fields, noise_seed)})
    dtype = np.float16 if half else np.float32
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / DESCRIPTION) as told, replacing(folder / WEIGHTS) as fresh:
        fresh.write_bytes(to_bytes({name: np.asarray(value, dtype) for name, value in flat.items()}))
        fresh.chmod(0o644)
        description = {
            "kind": kind,
            "fields": dict(fields),
            "noise_seed": noise_seed,
            "sha256": file_hash(fresh),
            **({} if source is None else {"source": dict(source)}),
        }
        told.write_text(json.dumps(description, indent=2) + "\n")


def load(source: Source, *, identity: str | None = None) -> Pretrained:
    """Open a generator: a shipped name, a folder, `package.module:make`, or a pair (Generator, parameters).

    `identity`: the one that it must have. What a file says is opened by `load_stored`: this imports a module.
    ValueError: unknown, damaged, another one, or weights or functions that do not fit.

    >>> loaded = lf.load_generator("avatars")
    >>> loaded.generator.latent_dim, loaded.generator.image_shape
    (512, (32, 32, 3))
    """
    loaded = source if isinstance(source, Pretrained) else _opened(source, identity)
    if identity is not None and loaded.identity != identity:
        raise ValueError(f"{loaded.name} is another generator: found {loaded.identity}, expected {identity}")
    return loaded


def _opened(source: str | os.PathLike[str] | tuple[Generator, Params], identity: str | None) -> Pretrained:
    if isinstance(source, tuple):
        generator, params = custom.pair_of(source, "what was given as a generator")
        name = generator.name
    else:
        name = os.fspath(source)
        if not custom.is_entry(name) or (folder_of(name) / DESCRIPTION).is_file():
            return load_stored(name, identity=identity)
        generator, params = custom.imported(name)
    found = custom.identity(generator, params, expected=identity)
    return Pretrained(generator, params, name, found)


def load_stored(name: str, *, identity: str | None = None) -> Pretrained:
    """Open a generator by shipped name or folder. ValueError as `load`.

    One that has the expected `identity` is what was opened before, and its weights are not compared again
    with the shapes that its fields ask for, which takes more than half of the time.
    """
    folder = folder_of(name)
    stored = read(folder, identity=identity)
    kind = KINDS[stored.kind]
    derived = {} if stored.noise_seed is None else kind.derived(stored.fields, stored.noise_seed)
    params = stored.params | derived
    known = name if name in shipped() else str(folder)
    found = _identity(stored.kind, stored.fields, stored.noise_seed, stored.sha256)
    return Pretrained(kind.make(**stored.fields), params, known, found, folder)


def _identity(kind: str, fields: Mapping[str, Any], noise_seed: int | None, sha256: str) -> str:
    facts = {"fields": fields, "kind": kind, "noise_seed": noise_seed, "weights": sha256}
    return custom.digest(facts)


def folder_of(name: str) -> Path:
    """Where the generator of this shipped name or path lies."""
    return SHIPPED / name if name in shipped() else Path(name).absolute()


def read(folder: Path, *, identity: str | None = None) -> Stored:
    """What `save` wrote into a folder. ValueError where it is not whole; `identity` as of `load_stored`."""
    if not (folder / DESCRIPTION).is_file():
        raise ValueError(
            f"no generator {folder.name!r}: give one of {shipped()} or a folder with {DESCRIPTION}"
        )
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"{folder} has no {WEIGHTS}: get the generator again")
    description = _describe(folder)
    weights = (folder / WEIGHTS).read_bytes()
    found = hashlib.sha256(weights).hexdigest()
    if found != description["sha256"]:
        raise ValueError(
            f"{folder / WEIGHTS} has SHA-256 {found}, but {DESCRIPTION} says {description['sha256']}: "
            "the file was changed or damaged; get the generator again"
        )
    kind, fields, seed = (description[name] for name in ("kind", "fields", "noise_seed"))
    if identity is not None and identity == _identity(kind, fields, seed, found):
        params = nested(from_bytes(weights))
    else:
        params = _adopt(folder, weights, shapes(kind, fields, seed))
    return Stored(kind, fields, params, found, seed, description.get("source"))


def nested(arrays: Mapping[str, np.ndarray]) -> Any:
    """The float32 parameters of which these are the leaves by path; numbered ones are a tuple."""
    tree: dict[str, Any] = {}
    for path, value in arrays.items():
        *outer, last = path.split("/")
        place = tree
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = jnp.asarray(value, jnp.float32)
    return _numbered(tree)


def _numbered(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    inner = {name: _numbered(value) for name, value in tree.items()}
    numbers = [str(i) for i in range(len(inner))]
    return tuple(inner[i] for i in numbers) if inner.keys() == {*numbers} else inner


def shapes(kind: str, fields: Mapping[str, Any], noise_seed: int | None) -> dict[str, Any]:
    """Of all parameters that are stored; without a seed, those that would follow from it are."""

    def stored() -> Params:
        maps = KINDS[kind].derived(fields, 0) if noise_seed is None else {}
        return KINDS[kind].template(fields) | maps

    try:
        return jax.eval_shape(stored)
    except (TypeError, KeyError) as error:
        raise ValueError(f"the fields {fields} do not make a generator: {error}") from None


def _describe(folder: Path) -> dict[str, Any]:
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        missing = {"kind", "fields", "noise_seed", "sha256"} - description.keys()
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{folder / DESCRIPTION} is not a generator's description: {error}") from None
    if missing:
        raise ValueError(f"{folder / DESCRIPTION} lacks {sorted(missing)}")
    if description["kind"] not in KINDS:
        raise ValueError(
            f"{folder / DESCRIPTION} has kind {description['kind']!r}, not one of {sorted(KINDS)}"
        )
    if not isinstance(description["fields"], dict):
        raise ValueError(f"the fields {description['fields']} do not make a generator: expected an object")
    return description


def _adopt(folder: Path, weights: bytes, template: Params) -> Params:
    try:
        found = from_bytes(weights)
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} is not a safetensors file: {error}") from None
    wanted = by_path(template)
    misshapen = sorted(n for n in found.keys() & wanted.keys() if found[n].shape != wanted[n].shape)
    missing, unused = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or unused or misshapen:
        raise ValueError(
            f"{folder / WEIGHTS} does not fit {DESCRIPTION}: "
            f"missing {missing}, unused {unused}, misshapen {misshapen}"
        )
    leaves = [jnp.asarray(found[name], jnp.float32) for name in wanted]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)
