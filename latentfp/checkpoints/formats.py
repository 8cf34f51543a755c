"""The formats of other programs' generators, told apart, read, and written as a generator folder of ours.

rosinality   .pt, {"g_ema", "latent_avg", …}                        StyleGAN2
nvidia       .pkl of stylegan2-ada-pytorch or stylegan3, "G_ema"    StyleGAN2
compvis      .ckpt, {"state_dict"}, and a .yaml                     latent diffusion
diffusers    a folder with model_index.json, or one with a first stage alone

Nothing in a file is executed, and nothing but numbers and names is taken from it.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from latentfp.checkpoints import compvis, diffusers, stylegan2
from latentfp.checkpoints.adopt import Imported
from latentfp.checkpoints.configurations import read_configuration
from latentfp.checkpoints.nvidia import read_network
from latentfp.checkpoints.torch_files import is_legacy, read_tensors
from latentfp.choices import Format
from latentfp.generators import pretrained

CONFIGURATIONS = ("*.yaml", "*.yml")


class Origin(NamedTuple):
    """What a generator was imported from: the format, the file's name, its SHA-256, and of a .yaml's."""

    format: Format
    name: str
    sha256: dict[str, str]


def recognise(path: Path) -> Format:
    """The format of a file or folder, from what it holds. ValueError where it is none of ours."""
    if path.is_dir():
        return Format.DIFFUSERS
    with path.open("rb") as file:
        start = file.read(32)
    if start.startswith(b"\x80") and not is_legacy(start):
        return Format.NVIDIA
    tree = read_tensors(path)
    for key, found in (("g_ema", Format.ROSINALITY), ("state_dict", Format.COMPVIS)):
        if isinstance(tree, dict) and key in tree:
            return found
    raise ValueError(f"{path}: it is no generator in one of the formats {', '.join(Format)}")


def read(path: Path, form: Format, configuration: Path | None = None) -> tuple[Imported, Origin]:
    """The generator in a file or folder, and where it is from.

    `configuration`: the .yaml of a checkpoint of CompVis; the only one beside it, if it is not given.
    ValueError, with the path and the reason, for what is damaged, hostile or not supported.
    """
    if configuration is not None and form is not Format.COMPVIS:
        raise ValueError(f"{path}: {form} needs no --config, only {Format.COMPVIS} does")
    if configuration is None and form is Format.COMPVIS:
        configuration = _beside(path)
    files = _files(path) + ([] if configuration is None else [configuration])
    try:
        found = READERS[form](path, configuration)
    except ValueError as error:
        named = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise ValueError(named) from None
    return found, Origin(form, path.name, {_name(path, file): _sha256(file) for file in files})


def import_generator(
    path: Path, out: Path, *, form: Format | None = None, configuration: Path | None = None
) -> tuple[Imported, Origin]:
    """Write the generator of another program as the folder `out`, in float32. ValueError where it exists."""
    if out.exists():
        raise ValueError(f"{out} exists and nothing is overwritten: choose another folder")
    found, origin = read(path, recognise(path) if form is None else form, configuration)
    pretrained.save(
        out,
        kind=found.kind,
        fields=found.fields,
        params=found.params,
        noise_seed=None,
        half=False,
        source={**origin._asdict(), "format": origin.format.value},
    )
    return found, origin


def _rosinality(path: Path, _: Path | None) -> Imported:
    return stylegan2.from_rosinality(read_tensors(path))


def _nvidia(path: Path, _: Path | None) -> Imported:
    return stylegan2.from_nvidia(*read_network(path, "G_ema"))


def _compvis(path: Path, configuration: Path | None) -> Imported:
    settings = {} if configuration is None else read_configuration(configuration)
    return compvis.from_compvis(read_tensors(path), settings)


def _diffusers(path: Path, _: Path | None) -> Imported:
    return diffusers.from_diffusers(path)


READERS: dict[Format, Callable[[Path, Any], Imported]] = {
    Format.ROSINALITY: _rosinality,
    Format.NVIDIA: _nvidia,
    Format.COMPVIS: _compvis,
    Format.DIFFUSERS: _diffusers,
}


def _beside(path: Path) -> Path:
    found = sorted(file for pattern in CONFIGURATIONS for file in path.parent.glob(pattern))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ValueError(f"{path}: give its .yaml with --config, beside it there is {names}")
    return found[0]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    kept = [
        path / diffusers.PIPELINE,
        *sorted(path.glob("**/*.json")),
        *sorted(path.glob("**/*.safetensors")),
    ]
    return [file for file in dict.fromkeys([*kept, *sorted(path.glob("**/*.bin"))]) if file.is_file()]


def _name(path: Path, file: Path) -> str:
    return str(file.relative_to(path)) if path.is_dir() else file.name


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
