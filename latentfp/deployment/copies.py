"""A user's copy of a generator: what it is, the images that it makes, and the files of it.

Whatever a copy makes bears the user's code:

    w0 ~ prior,    plain = g(w0),    marked = g(w0 - V^T V (w0 - mu) + sigma V^T level(code)),

each rounded to the 8 bits of a file. Image i follows from the key and i alone, so a later batch continues an
earlier one.

The map of the latents is affine. A generator that can have it built in (StyleGAN2) becomes an ordinary
checkpoint of the format that is asked for. Of any other (latent diffusion) the map itself is written: tensors
`axes` [k d] and `offset` [d] of `w - (w @ axes.T) @ axes + offset`, to be applied to the latents just before
they are decoded (fingerprint/latent_copy.py). Its axes are rotated at random, so that they do not tell the
bits apart.
"""

import math
import secrets
import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from latentfp import rng
from latentfp.attribution.descent import Subject
from latentfp.checkpoints import formats
from latentfp.checkpoints.adopt import Imported
from latentfp.choices import Coding, CopyFormat, Format, Status
from latentfp.data.files import UnreadableImage, read_image, write_image
from latentfp.deployment.constants import subject_in
from latentfp.deployment.deployment import Deployment, Opening, load_generator, open_deployment
from latentfp.deployment.registry import User
from latentfp.fingerprint.basis import Space
from latentfp.fingerprint.embed import Strength, embed
from latentfp.fingerprint.latent_copy import Copy, LatentFormat, copy_for, rotated, save
from latentfp.generators import pretrained
from latentfp.generators.generator import Generator
from latentfp.generators.pretrained import Pretrained, Source
from latentfp.pixels import to_pixels
from latentfp.runtime.batches import batches
from latentfp.runtime.progress import progress
from latentfp.types import Key, Latent, Latents, Params, Pixels

BATCH, PIXELS = 32, 2**19  # images at once, and the most pixels of all of them if they are more than one
GROUP = 256  # images between two writings
ROUNDING = 0.05  # of 255 levels, in the mean: what machines that make the same image differ by


class Issued(NamedTuple):
    """Pixels [n h w 3] of the same latents without and with the code."""

    plain: UInt8[np.ndarray, "n h w 3"]
    marked: UInt8[np.ndarray, "n h w 3"]


def issue(subject: Subject, codes: Bool[np.ndarray, "n k"], *, key: Key, first: int = 0) -> Issued:
    """One image for each row of `codes`: those with ids `first`, `first` + 1, … of the stream `key`."""
    w0 = draw_latents(subject.generator, subject.params, key, count=len(codes), first=first)
    return mark_latents(subject, w0, codes)


def batch_of(generator: Generator) -> int:
    """How many images are made at once: the same for any number of them, so that each is always the same."""
    height, width, _ = generator.image_shape
    return max(1, min(BATCH, PIXELS // (height * width)))


def draw_latents(
    generator: Generator, params: Params, key: Key, *, count: int, first: int = 0
) -> Float[np.ndarray, "n d"]:
    """True samples of the prior, of the images with ids `first`, `first` + 1, … of the stream `key`."""
    rows_of = batches(count, batch_of(generator))
    parts = [_draw(generator, params, key, jnp.asarray(first + rows)) for rows in rows_of]
    return np.concatenate([np.asarray(part) for part in parts])[:count]


def mark_latents(subject: Subject, w0: Float[np.ndarray, "n d"], codes: Bool[np.ndarray, "n k"]) -> Issued:
    """The images of latents, without and with one code each."""
    generator, params, space = subject.generator, subject.params, subject.space
    mark = partial(_mark, generator, params, space, sigma=subject.sigma, coding=subject.coding)
    parts = [
        mark(jnp.asarray(w0[rows]), jnp.asarray(codes[rows]))
        for rows in batches(len(codes), batch_of(generator))
    ]
    plain, marked = (np.concatenate([np.asarray(part[i]) for part in parts])[: len(codes)] for i in range(2))
    return Issued(plain, marked)


@partial(jax.jit, static_argnames="generator")
def _draw(generator: Generator, params: Params, key: Key, ids: Int[Array, " b"]) -> Latents:
    def latent(image: Int[Array, ""]) -> Latent:
        return generator.sample(params, rng.stream(key, "image", image), 1)[0]

    return jax.vmap(latent)(ids)


@partial(jax.jit, static_argnames=("generator", "coding"))
def _mark(
    generator: Generator,
    params: Params,
    space: Space,
    w0: Latents,
    codes: Bool[Array, "b k"],
    sigma: Strength,
    coding: Coding,
) -> tuple[UInt8[Array, "b h w 3"], UInt8[Array, "b h w 3"]]:
    marked = jax.vmap(partial(embed, space, sigma=sigma, coding=coding))(w0, codes)
    return to_pixels(generator.synthesize(params, w0)), to_pixels(generator.synthesize(params, marked))


def active(opened: Deployment, user: str) -> User:
    """The user of this name; ValueError for an unknown or revoked one."""
    found = opened.registry.user(user)
    if found.status is Status.REVOKED:
        raise ValueError(f"user {user!r} is revoked: reinstate the user first")
    return found


def generate(
    deployment: Opening, *, user: str, count: int, seed: int, first: int = 0
) -> UInt8[np.ndarray, "n h w 3"]:
    """Images of a user's copy: numbers `first` … `first + count - 1` of a seed, entered in the audit log.

    ValueError for an unknown or revoked user, and for numbers out of range: `seed` has 64 bits.
    """
    opened = open_deployment(deployment)
    who, key = _drawer(opened, user, count=count, seed=seed)
    if first < 0:
        raise ValueError(f"got {first} as the first image, expected 0 or more")
    subject = subject_in(opened, load_generator(opened))
    said = {"name": who.name, "count": count, "seed": seed} | ({"first": first} if first else {})
    opened.registry.note("generate", said)
    return issue(subject, np.tile(who.code, (count, 1)), key=key, first=first).marked


class Written(NamedTuple):
    """The files of the images that were asked for, and how many of them were there already."""

    paths: list[Path]
    there: int


def generate_files(
    deployment: Opening, *, user: str, count: int, out: Path, seed: int, suffix: str
) -> Written:
    """Write images of a user's copy into `out`, as USER-SEED-NUMBER.SUFFIX; entered in the audit log.

    Files that an earlier call made of the same user, seed and deployment stay, and the others are added: so a
    call that was interrupted goes on. The first and the last of them are compared with what they should be.
    ValueError for an unknown or revoked user, and where other images are there.
    """
    opened = open_deployment(deployment)
    who, key = _drawer(opened, user, count=count, seed=seed)
    begin = f"{who.name}-{seed}"
    paths = [out / f"{begin}-{number:04d}.{suffix}" for number in range(count)]
    there = [path.exists() for path in paths]
    subject = subject_in(opened, load_generator(opened))

    def draw(first: int, count: int) -> UInt8[np.ndarray, "n h w 3"]:
        return issue(subject, np.tile(who.code, (count, 1)), key=key, first=first).marked

    known = [number for number, exists in enumerate(there) if exists]
    for number in {*known[:1], *known[-1:]}:
        if not _is_this(paths[number], draw(number, 1)[0]):
            raise ValueError(
                f"{paths[number]} exists and is another image, which is not overwritten: choose another seed "
                "or folder"
            )
    said = {"name": who.name, "count": count, "seed": seed, "suffix": suffix}
    opened.registry.note("generate", said)
    out.mkdir(parents=True, exist_ok=True)
    with progress("generating", count) as advance:
        for first in range(0, count, GROUP):
            some = slice(first, first + GROUP)
            if not all(there[some]):
                images = draw(first, len(paths[some]))
                for path, exists, pixels in zip(paths[some], there[some], images, strict=True):
                    if not exists:
                        write_image(path, pixels)
            advance(len(paths[some]))
    return Written(paths, sum(there))


def _is_this(path: Path, pixels: Pixels) -> bool:
    """Whether a file holds these pixels, as its format keeps them and up to the rounding of machines."""
    with tempfile.TemporaryDirectory() as folder:
        expected = Path(folder) / path.name
        write_image(expected, pixels)
        try:
            images = [read_image(one, size=pixels.shape[:2]) for one in (path, expected)]
        except UnreadableImage:
            return False
    return float(np.abs(np.subtract(*images, dtype=np.int16)).mean()) < ROUNDING


def _drawer(opened: Deployment, user: str, *, count: int, seed: int) -> tuple[User, Key]:
    """Who has the copy, and the stream of its images."""
    who = active(opened, user)
    if not 1 <= count < 2**31:
        raise ValueError(f"got {count} images, expected 1 … 2^31 - 1")
    return who, rng.stream(rng.root(seed), f"copy/{who.name}")


def export_copy(deployment: Opening, *, user: str, out: Path, form: CopyFormat | None = None) -> CopyFormat:
    """Write a user's copy to `out`; no `form`: the one that the generator came in, else ours.

    ValueError for an unknown or revoked user, an `out` that exists, and a format that this generator cannot
    have.
    """
    opened = open_deployment(deployment)
    who = active(opened, user)
    _check_new(out)
    loaded, manifest = load_generator(opened), opened.manifest
    copy = copy_for(opened.space, who.code, sigma=manifest.sigma, coding=manifest.coding)
    turned = rotated(copy, secrets.randbits(128))
    chosen = _usual_format(loaded) if form is None else form
    subject = {"name": who.name, "format": chosen.value, "file": out.name}
    opened.registry.note("export", subject)
    if chosen is CopyFormat.LATENTS:
        out.parent.mkdir(parents=True, exist_ok=True)
        save(out, turned._replace(latent=_latent_format(loaded)))
        return chosen
    source = {
        "format": "copy",
        "sha256": {Path(loaded.name).name: loaded.identity},
        "deployment": manifest.id,
    }
    _write(out, chosen, loaded, folded(loaded, turned), source)
    return chosen


def export_generator(generator: Source, *, out: Path, form: CopyFormat | None = None) -> CopyFormat:
    """Write a generator without any code to `out`, as `export_copy` writes a user's copy of it."""
    _check_new(out)
    loaded = pretrained.load(generator)
    usual = _usual_format(loaded)
    chosen = form or (CopyFormat.LATENTFP if usual is CopyFormat.LATENTS else usual)
    if chosen is CopyFormat.LATENTS:
        raise ValueError("without a code there is no map of the latents: choose another format")
    _write(out, chosen, loaded, loaded.params, None)
    return chosen


def folded(loaded: Pretrained, copy: Copy) -> Params:
    """The parameters of a generator with the copy built in. ValueError where that is not possible."""
    if loaded.generator.fold is None:
        raise ValueError(f"a {loaded.generator.name} cannot have a code built in: export it as latents")
    return loaded.generator.fold(loaded.params, copy.axes, copy.offset)


def _usual_format(loaded: Pretrained) -> CopyFormat:
    if loaded.generator.fold is None or loaded.folder is None:
        return CopyFormat.LATENTS
    origin = pretrained.read(loaded.folder).source or {}
    known = {CopyFormat.ROSINALITY.value, CopyFormat.NVIDIA.value}
    return CopyFormat(origin["format"]) if origin.get("format") in known else CopyFormat.LATENTFP


def _latent_format(loaded: Pretrained) -> LatentFormat:
    """What other programs must know of the latents of an autoencoder."""
    generator, channels = loaded.generator, loaded.generator.channels
    if channels == 1:
        return LatentFormat()
    side = math.isqrt(generator.latent_dim // channels)
    fields = {} if loaded.folder is None else pretrained.read(loaded.folder).fields
    return LatentFormat((channels, side, side), fields.get("scale", 1.0), fields.get("shift", 0.0))


def _check_new(out: Path) -> None:
    if out.exists():
        raise ValueError(f"{out} exists and nothing is overwritten: choose another name")


def _write(
    out: Path, form: CopyFormat, loaded: Pretrained, params: Params, source: dict[str, object] | None
) -> None:
    """Write a whole generator. ValueError where its kind has no such format."""
    if loaded.folder is None:
        raise ValueError(f"{loaded.name} is a generator of your own: it is written as latents only")
    stored = pretrained.read(loaded.folder)
    whole = Imported(stored.kind, stored.fields, params, {})
    out.parent.mkdir(parents=True, exist_ok=True)
    formats.export_generator(whole, out, Format(form.value), source=source or stored.source)
