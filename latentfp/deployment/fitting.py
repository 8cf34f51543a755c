"""From a generator to a deployment: principal axes of samples of the prior, split, written."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from latentfp import rng
from latentfp.choices import Coding, Layout
from latentfp.deployment import decoders, given_latents
from latentfp.deployment import secret as secrets
from latentfp.deployment.codebook import CodeFacts, CodeKind
from latentfp.deployment.deployment import BASIS, Deployment, create, read_basis
from latentfp.deployment.design import Design, complete
from latentfp.deployment.design import read as read_design
from latentfp.deployment.given_latents import Given
from latentfp.deployment.manifest import GeneratorFacts, check_distance, check_strength
from latentfp.deployment.secret import Secret
from latentfp.fingerprint import bch
from latentfp.fingerprint.basis import (
    Basis,
    Batches,
    check_place,
    check_samples,
    fit_basis,
    fit_channel_basis,
    with_last,
)
from latentfp.fingerprint.codes import check_length
from latentfp.fingerprint.frequencies import check_frequencies, fit_frequency_basis
from latentfp.fingerprint.streaming import fit_leading
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained, Source
from latentfp.runtime import mesh
from latentfp.runtime.progress import track

BATCH = 1000
BUNDLED = 64 * 10**6  # bytes below which a generator goes with its deployments
MOST_DIMENSIONS = 4096  # of which a covariance is computed whole
CONTENT = 256  # usual leading axes before the code where not all are known, or a quarter of fewer latents


class Sampling(NamedTuple):
    """How a basis is found: from `samples` latents, a multiple of 1000 or fewer than that.

    `axes`: how many of the leading ones; None: all.
    """

    samples: int = 10_000
    seed: int = 0
    layout: Layout = Layout.JOINT
    axes: int | None = None


USUAL = Sampling()  # of the bases that are shipped


def sample_basis(loaded: Pretrained, sampling: Sampling) -> Basis:
    """The principal axes of samples of the prior. ValueError, before any is drawn, as by `check_sampling`,
    and for frequencies: which of them are kept depends on the code (`fit`)."""
    check_sampling(loaded, sampling)
    if sampling.layout is Layout.FREQUENCIES:
        raise ValueError("a basis of frequencies is fitted for a code: use `fit`")
    return _axes_of(_drawn(loaded, sampling.samples, sampling.seed), loaded, sampling)


def _drawn(loaded: Pretrained, samples: int, seed: int) -> Iterator[Float[np.ndarray, "b d"]]:
    """Samples of the prior in batches, each drawn by all devices together."""
    if samples > BATCH and samples % BATCH:
        raise ValueError(f"{samples} samples are not a multiple of {BATCH}: round them")
    size = min(samples, BATCH)
    draw = mesh.split_rows(lambda params, key: loaded.generator.sample(params, key, size), rows=size)
    keys = [rng.stream(rng.root(seed), "basis", i) for i in range(samples // size)]
    return (np.asarray(draw(loaded.params, key)) for key in track(keys, "sampling latents"))


def _axes_of(batches: Batches, loaded: Pretrained, sampling: Sampling) -> Basis:
    if sampling.axes is not None and sampling.layout is Layout.JOINT:
        return fit_leading(batches, axes=sampling.axes)
    w = np.concatenate(list(batches))
    if sampling.layout is Layout.CHANNELS:
        return fit_channel_basis(w, channels=loaded.generator.channels)
    return fit_basis(w)


def check_sampling(loaded: Pretrained, sampling: Sampling) -> None:
    """ValueError where a generator's axes cannot be found so."""
    samples, _, layout, axes = sampling
    channels, dimensions = loaded.generator.channels, loaded.generator.latent_dim
    if layout is Layout.JOINT:
        channels = 1
    elif channels == 1:
        raise ValueError(f"the latent of {loaded.name} has only one channel: choose the layout joint")
    elif axes is not None:
        raise ValueError(f"the layout {layout} has axes of its own: leave the number of axes out")
    if layout is Layout.FREQUENCIES:
        check_frequencies(samples, dimensions, channels=channels)
    else:
        check_samples(samples, dimensions, axes=axes, channels=channels)


def fit(
    out: str | os.PathLike[str],
    *,
    generator: Source,
    sigma: float | None = None,
    shift: int | None = None,
    bits: int | None = None,
    coding: str = "antipodal",
    min_distance: int | None = None,
    samples: int = USUAL.samples,
    seed: int = USUAL.seed,
    repeats: int = 1,
    layout: str = "joint",
    axes: int | None = None,
    codes: str = "random",
    message: int | None = None,
    secret: Path | None = None,
    design: Path | None = None,
    bundle: bool | None = None,
    latents: Sequence[Path] = (),
    images: Path | None = None,
) -> Deployment:
    """Write a deployment for a generator and open it. What is wrong is said before anything is sampled.

    `latents`: files of latents in place of samples, or `images`: a folder of images, which are encoded
    (given_latents.py); an autoencoder needs either. No `sigma`, `shift` or `bits`: what is usual for the
    generator (design.py); of latents that are given and too few for all axes, a code behind the CONTENT
    leading ones. No `min_distance`: a quarter of `bits`.

    A code has each bit of its message `repeats` times in a row. `layout`: "joint"; "channels" for the axes
    of every channel of the latent in turn, which `shift` counts: axis i of them all begins at channels · i;
    "frequencies" for spatial frequencies of mixed channels, by falling variance (frequencies.py).
    `axes`: how many leading axes are computed; None: all, or those up to the code where a latent has more
    than 4096 numbers or fewer latents are given than that. `codes`: "random", or "bch" for an algebraic code
    of 2^`message` users (bch.py), which needs a secret. `secret`: the file of a secret that turns the
    code's axes, outside of `out`; made where there is none. `design`: a file of `latentfp design`, which
    says `sigma`, `bits` and which axes the code gets; they become the last ones of the basis. `bundle`:
    whether the deployment gets a copy of the generator; None: if it is smaller than 64 MB and not shipped.

    A shipped generator may come with its basis of the usual samples, bit for bit the same on every machine,
    and with a decoder, which the deployment gets if it belongs to it. ValueError where `out` exists or a
    value is out of range.
    """
    if os.path.lexists(out):
        raise ValueError(f"{out} exists and a deployment overwrites nothing: choose another folder")
    loaded, coded, chosen = pretrained.load(generator), Coding(coding), Layout(layout)
    plain = not latents and images is None and (sigma, shift, bits) == (None, None, None)
    if design is not None and not (plain and Sampling(samples, seed, chosen, axes) == USUAL):
        text = "a design says sigma and bits, and numbers the axes of the usual samples: leave them out"
        raise ValueError(text)
    place = read_design(design, loaded) if design else complete(loaded, sigma=sigma, shift=shift, bits=bits)
    book, distance = _code_book(
        CodeKind(codes), place.bits, repeats, message=message, distance=min_distance, secret=secret
    )
    given = _given(loaded, latents, images, drawn=(samples, seed) != (USUAL.samples, USUAL.seed))
    sampling = Sampling(samples if given is None else given.count, seed, chosen, axes)
    place, sampling = _large(loaded, place, sampling, free=shift is None, given=given is not None)
    _check(loaded, sampling, place, distance)
    copied = _bundled(loaded, bundle)
    known = None if secret is None else _secret(secret, Path(out))
    basis, place = _basis(loaded, sampling, given, place)
    made = create(
        out,
        generator=GeneratorFacts(loaded.name, loaded.identity),
        basis=basis if place.axes is None else with_last(basis, place.axes),
        **{name: getattr(place, name) for name in ("sigma", "shift", "bits")},
        coding=coded,
        min_distance=distance,
        repeats=repeats,
        layout=chosen,
        codes=book,
        secret=known,
        bundle=copied,
    )
    if loaded.folder is None:
        made = made._replace(generator=loaded)
    decoder = decoders.shipped(loaded.name)
    if decoder is not None and decoders.belongs(decoder, made):
        decoders.adopt(made, decoder)
    return made


def _basis(
    loaded: Pretrained, sampling: Sampling, given: Given | None, place: Design
) -> tuple[Basis, Design]:
    """The basis, and where the code lies in it. Of frequencies it holds the CONTENT leading ones, and those
    of the code."""
    if sampling.layout is not Layout.FREQUENCIES:
        found = basis_of(loaded, sampling) if given is None else _axes_of(given.batches, loaded, sampling)
        return found, place
    batches = _drawn(loaded, sampling.samples, sampling.seed) if given is None else given.batches
    content = min(CONTENT, place.shift)
    channels = loaded.generator.channels
    found = fit_frequency_basis(
        batches, channels=channels, shift=place.shift, bits=place.bits, content=content
    )
    return found, place._replace(shift=content)


def _large(
    loaded: Pretrained, place: Design, sampling: Sampling, *, free: bool, given: bool
) -> tuple[Design, Sampling]:
    """Leading axes up to the code, where a covariance would not fit, or there are fewer latents than axes.

    Where the place of the code is `free`, it lies behind the usual content of latents that are `given`, and
    of frequencies an eighth of the axes from the end.
    """
    dimensions, most = loaded.generator.latent_dim, min(MOST_DIMENSIONS, sampling.samples - 1)
    if free and sampling.layout is Layout.FREQUENCIES:
        place = place._replace(shift=max(1, dimensions - dimensions // 8 - place.bits))
    if dimensions <= most or sampling.layout is not Layout.JOINT:
        return place, sampling
    if free and given:
        place = place._replace(shift=min(CONTENT, max(1, sampling.samples // 4)))
    least = place.bits + max(place.shift, 1)  # one axis of content is there in any case
    return place, sampling if sampling.axes is not None else sampling._replace(axes=least)


def _given(loaded: Pretrained, latents: Sequence[Path], images: Path | None, *, drawn: bool) -> Given | None:
    """Latents in place of samples, if there are any."""
    if not latents and images is None:
        return None
    if drawn or (latents and images is not None):
        raise ValueError("latents are given, as files or as images to encode, or drawn: choose one of them")
    if images is not None:
        return given_latents.from_images(loaded, Path(images))
    return given_latents.from_files(list(map(Path, latents)), loaded.generator.latent_dim)


def _check(loaded: Pretrained, sampling: Sampling, place: Design, distance: int) -> None:
    """ValueError for what would be refused when all samples are drawn."""
    rng.root(sampling.seed)
    check_sampling(loaded, sampling)
    check_place(sampling.axes or loaded.generator.latent_dim, shift=place.shift, bits=place.bits)
    check_strength(place.sigma)
    check_distance(distance, bits=place.bits)


def _bundled(loaded: Pretrained, wanted: bool | None) -> Path | None:
    """The generator's folder where the deployment gets a copy of it."""
    if loaded.folder is None:
        if wanted:
            raise ValueError(f"{loaded.name} is a generator of your own, not a folder that can be bundled")
        return None
    size = sum((loaded.folder / name).stat().st_size for name in (pretrained.DESCRIPTION, pretrained.WEIGHTS))
    usual = size < BUNDLED and loaded.name not in pretrained.shipped()
    return loaded.folder if (usual if wanted is None else wanted) else None


def _code_book(
    kind: CodeKind,
    bits: int,
    repeats: int,
    *,
    message: int | None,
    distance: int | None,
    secret: Path | None,
) -> tuple[CodeFacts, int]:
    """What the manifest says of the codes, and their distance in bits of the code."""
    check_length(bits=bits, repeats=repeats)
    if kind is not CodeKind.BCH:
        if message is not None:
            raise ValueError("random codes have no shorter message: leave it out or choose the codes bch")
        return CodeFacts(kind), max(1, bits // 4) if distance is None else distance
    if distance is not None or secret is None:
        raise ValueError("algebraic codes have a distance of their own and need a secret: give `secret` only")
    code = bch.construct(bits // repeats, message)
    return CodeFacts(kind, code.message, f"{code.polynomial:x}"), code.distance * repeats


def _secret(path: Path, out: Path) -> Secret:
    if path.absolute().is_relative_to(out.absolute()):
        raise ValueError(f"{path} lies in the deployment, which the secret protects: keep it elsewhere")
    return secrets.read(path) if path.exists() else secrets.create(path)


def basis_of(loaded: Pretrained, sampling: Sampling) -> Basis:
    """The one that comes with the generator, if it is of the usual samples, else a new one."""
    path = pretrained.SHIPPED / loaded.name / BASIS
    there = loaded.name in pretrained.shipped() and path.is_file()
    return read_basis(path) if there and sampling == USUAL else sample_basis(loaded, sampling)
