"""The formats of other programs' generators, told apart, read, and written as a generator folder of ours.

rosinality   .pt, {"g_ema", "latent_avg", …}; or pSp's {"state_dict": {"decoder.…"}, …}  StyleGAN2
nvidia       .pkl of stylegan2-ada-pytorch or stylegan3, "G_ema"; or a .pt of ours       StyleGAN2
compvis      .ckpt, {"state_dict"}, and a .yaml                                          latent diffusion
diffusers    a folder with model_index.json, or one with an autoencoder alone            latent diffusion
taesd        a file of the author's, "encoder.0.weight"                                  autoencoder
latentfp     a generator folder of ours

Nothing in a file is executed, and nothing but numbers and names is taken from it.
"""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from latentfp.checkpoints import autoencoders, latent_diffusion, stylegan2
from latentfp.checkpoints.adopt import Imported
from latentfp.checkpoints.configurations import read_configuration
from latentfp.checkpoints.torch_files import flatten, is_legacy, read_tensors, write_tensors
from latentfp.choices import Format
from latentfp.generators import pretrained
from latentfp.runtime.files import file_hash, printable


class Origin(NamedTuple):
    """What a generator was imported from: the format, the file's name, its SHA-256, and of a .yaml's."""

    format: Format
    name: str
    sha256: dict[str, str]


def recognise(path: Path) -> Format:
    """The format of a file or folder, from what it holds. ValueError where it is none of ours."""
    if path.exists() and not path.is_dir() and not path.is_file():
        raise ValueError(f"{path}: it is a pipe, socket or device: save what it gives to a file first")
    if path.is_dir():
        return Format.LATENTFP if (path / pretrained.DESCRIPTION).is_file() else Format.DIFFUSERS
    if _is_plain_pickle(path):
        return Format.NVIDIA
    tree = read_tensors(path)
    names = set(tree) if isinstance(tree, dict) else set()
    state = tree["state_dict"] if "state_dict" in names else {}
    inverter = isinstance(state, dict) and any(str(name).startswith("decoder.convs.") for name in state)
    if "g_ema" in names or inverter:
        return Format.ROSINALITY
    if "G_ema" in names:
        return Format.NVIDIA
    if "state_dict" in names or any(str(name).startswith(latent_diffusion.DENOISER) for name in names):
        return Format.COMPVIS
    if autoencoders.is_author(flatten(tree) if isinstance(tree, dict) else ()):
        return Format.TAESD
    raise ValueError(printable(f"{path}: {_unknown(path, names)}"))


def read(
    path: Path, form: Format, configuration: Path | None = None, *, size: int | None = None
) -> tuple[Imported, Origin]:
    """The generator in a file or folder, and where it is from.

    `configuration`: the .yaml of a checkpoint of CompVis; the only one beside it, if it is not given. `size`:
    of the images [pixels a side], for an autoencoder.
    ValueError, with the path and the reason, for what is damaged, hostile or not supported.
    """
    if configuration is not None and form is not Format.COMPVIS:
        raise ValueError(f"{path}: {form} needs no --config, only {Format.COMPVIS} does")
    if size is not None and form not in SIZED:
        raise ValueError(f"{path}: {form} says for which size of images it is: leave --size out")
    try:
        if form is Format.COMPVIS:
            tree = latent_diffusion.expect_unconditional(read_tensors(path))
            configuration = _beside(path) if configuration is None else configuration
            found = latent_diffusion.from_compvis(tree, read_configuration(configuration))
        elif form in SIZED:
            found = SIZED[form](path, size)
        else:
            found = READERS[form](path)
    except ValueError as error:
        named = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise ValueError(printable(named)) from None
    files = _files(path) + ([] if configuration is None else [configuration])
    names = [str(file.relative_to(path)) if path.is_dir() else file.name for file in files]
    return found, Origin(form, path.name, dict(zip(names, map(file_hash, files), strict=True)))


def import_generator(
    path: Path,
    out: Path,
    *,
    form: Format | None = None,
    configuration: Path | None = None,
    size: int | None = None,
) -> tuple[Imported, Origin]:
    """Write the generator of another program as the folder `out`, in float32. ValueError where it exists."""
    if out.exists():
        raise ValueError(f"{out} exists and nothing is overwritten: choose another folder")
    found, origin = read(path, recognise(path) if form is None else form, configuration, size=size)
    source = {**origin._asdict(), "format": origin.format.value}
    export_generator(found, out, Format.LATENTFP, source=source)
    return found, origin


def export_generator(
    generator: Imported, out: Path, form: Format, *, source: Mapping[str, Any] | None = None
) -> None:
    """Write a generator in a format that `recognise` and `read` know again.

    `source`: what the description of a folder of ours says it was made of. ValueError for a format that this
    kind of generator is not written in, and where `out` exists.
    """
    if out.exists():
        raise ValueError(f"{out} exists and nothing is overwritten: choose another name")
    kind, fields, params = generator.kind, generator.fields, generator.params
    if form is Format.LATENTFP:
        seed = generator.noise_seed
        pretrained.save(
            out, kind=kind, fields=fields, params=params, noise_seed=seed, half=False, source=source
        )
    elif form in WRITERS and kind == "stylegan2":
        write_tensors(out, WRITERS[form](fields, params))
    else:
        raise ValueError(f"a {kind} is not written in the format {form}: use {Format.LATENTFP}")


def _nvidia(path: Path) -> Imported:
    if _is_plain_pickle(path):
        return stylegan2.from_nvidia(*stylegan2.read_network(path, "G_ema"))
    return stylegan2.from_nvidia_state(read_tensors(path))


def _latentfp(path: Path) -> Imported:
    stored = pretrained.read(path)
    return Imported(stored.kind, stored.fields, stored.params, {}, stored.noise_seed)


READERS: dict[Format, Callable[[Path], Imported]] = {
    Format.ROSINALITY: lambda path: stylegan2.from_rosinality(read_tensors(path)),
    Format.NVIDIA: _nvidia,
    Format.LATENTFP: _latentfp,
}
SIZED: dict[Format, Callable[[Path, int | None], Imported]] = {
    Format.DIFFUSERS: lambda path, size: latent_diffusion.from_diffusers(path, size=size),
    Format.TAESD: lambda path, size: autoencoders.from_author(read_tensors(path), size=size),
}
WRITERS: dict[Format, Callable[[Mapping[str, Any], Any], dict[str, Any]]] = {
    Format.ROSINALITY: stylegan2.to_rosinality,
    Format.NVIDIA: stylegan2.to_nvidia,
}


def _is_plain_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(32)
    return start.startswith(b"\x80") and not is_legacy(start)


def _unknown(path: Path, names: set[Any]) -> str:
    """What a file of tensors with these names is, that is no generator."""
    if names == {"axes", "offset"}:
        return (
            "it is a user's copy as a map of latents, no generator: apply it to latents that are to be "
            "decoded, as latentfp.integrations.diffusers does"
        )
    if path.name.startswith(autoencoders.STEM):
        return "it is one file of a folder of diffusers: import the folder, which says what its networks are"
    held = ", ".join(f"{name!s:.60}" for name in sorted(names, key=str)[:4]) or "no names"
    return f"it is no generator in one of the formats {', '.join(Format)}: it holds {held}"


def _beside(path: Path) -> Path:
    found = sorted(file for pattern in ("*.yaml", "*.yml") for file in path.parent.glob(pattern))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ValueError(f"{path}: give its .yaml with --config, beside it there is {names}")
    return found[0]


def _files(path: Path) -> list[Path]:
    """What a generator was read from: the file, or the folder's configurations and weights."""
    if path.is_file():
        return [path]
    kinds = [sorted(path.glob(f"**/*.{suffix}")) for suffix in ("json", "safetensors", "bin")]
    found = dict.fromkeys([path / latent_diffusion.PIPELINE, *itertools.chain(*kinds)])
    return [file for file in found if file.is_file()]
