"""From a generator to a deployment: principal axes of samples of the prior, split, written."""

import os
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from latentfp import rng
from latentfp.choices import Coding, Layout
from latentfp.deployment import decoders
from latentfp.deployment import secret as secrets
from latentfp.deployment.codebook import CodeFacts, CodeKind
from latentfp.deployment.deployment import BASIS, Deployment, create, facts_of, read_basis
from latentfp.deployment.design import Chosen, Design, complete, read_chosen
from latentfp.deployment.secret import Secret
from latentfp.fingerprint import bch
from latentfp.fingerprint.basis import Basis, fit_basis, fit_channel_basis, fit_leading, with_last
from latentfp.fingerprint.codes import check_length
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained
from latentfp.runtime.progress import track

BATCH = 1000
MOST_DIMENSIONS = 4096  # of which a covariance is computed whole


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
    """The principal axes of samples of the prior.

    ValueError for the layout of channels where the generator's latent has only one.
    """
    samples, seed, layout, axes = sampling
    channels = loaded.generator.channels
    if layout is Layout.CHANNELS and channels == 1:
        raise ValueError(f"the latent of {loaded.name} has only one channel: choose the layout joint")
    size = min(samples, BATCH)
    if samples % size:
        raise ValueError(f"{samples} samples are not a multiple of {BATCH}: round them")
    draw = jax.jit(loaded.generator.sample, static_argnums=2)
    keys = [rng.stream(rng.root(seed), "basis", i) for i in range(samples // size)]
    w = np.empty((samples, loaded.generator.latent_dim), np.float32)
    for i, key in enumerate(track(keys, "sampling latents")):
        w[i * size : (i + 1) * size] = draw(loaded.params, key, size)
    if layout is Layout.JOINT and axes is not None:
        return fit_leading(w, axes=axes)
    return fit_basis(w) if layout is Layout.JOINT else fit_channel_basis(w, channels=channels)


def fit(
    out: str | os.PathLike[str],
    *,
    generator: str,
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
) -> Deployment:
    """Write a deployment for the generator of this name or folder.

    No `sigma`, `shift` or `bits`: what is usual for the generator (design.py). No `min_distance`: a quarter
    of `bits`.

    A code has each bit of its message `repeats` times in a row. `layout`: "joint", or "channels" for the axes
    of every channel of the latent in turn, which `shift` counts: axis i of them all begins at channels · i.
    `axes`: how many leading axes are computed; None: all, or those up to the code where the latent has more
    than 4096 numbers, for their covariance would not fit. `codes`: "random", or "bch" for an algebraic code
    of 2^`message` users (bch.py), which needs a secret. `secret`: the file of a secret that turns the
    code's axes, outside of `out`; made where there is none. `design`: a file of `latentfp design`, which
    says `sigma`, `bits` and which axes the code gets; they become the last ones of the basis.

    A shipped generator may come with its basis of the usual samples, bit for bit the same on every machine,
    and with a decoder, which the deployment gets if it belongs to it.
    """
    if os.path.lexists(out):
        raise ValueError(f"{out} exists and a deployment overwrites nothing: choose another folder")
    loaded, chosen = pretrained.load(generator), Layout(layout)
    usual = (sigma, shift, bits) == (None, None, None) and Sampling(samples, seed, chosen, axes) == USUAL
    if design is not None and not usual:
        raise ValueError(
            "a design says sigma and bits, and numbers the axes of the usual samples: leave them out"
        )
    picked = None if design is None else read_chosen(design, generator=loaded.name)
    place = complete(loaded, sigma=sigma, shift=shift, bits=bits) if picked is None else _last(loaded, picked)
    book, distance = _code_book(  # before hours of sampling
        CodeKind(codes), place.bits, repeats, message=message, distance=min_distance, secret=secret
    )
    large = loaded.generator.latent_dim > MOST_DIMENSIONS and chosen is Layout.JOINT
    least = place.bits + max(place.shift, 1)  # one axis of content is there in any case
    kept = least if large and axes is None else axes
    basis = basis_of(loaded, Sampling(samples, seed, chosen, kept))
    made = create(
        out,
        generator=facts_of(loaded),
        basis=basis if picked is None else with_last(basis, picked.axes),
        **place._asdict(),
        coding=Coding(coding),
        min_distance=distance,
        repeats=repeats,
        layout=chosen,
        codes=book,
        secret=None if secret is None else _secret(secret, Path(out)),
    )
    decoder = decoders.shipped(generator)
    if decoder is not None and decoders.belongs(decoder, made):
        decoders.adopt(made, decoder)
    return made


def _last(loaded: Pretrained, picked: Chosen) -> Design:
    """A code on the last axes, where `with_last` puts those that were picked."""
    bits = len(picked.axes)
    return Design(picked.sigma, loaded.generator.latent_dim - bits, bits)


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
