"""Tracing as a command: from files of one origin to the users who made them together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from latentfp import rng
from latentfp.attribution import cascade as cascades
from latentfp.attribution import tracing
from latentfp.attribution.cascade import make_cascade
from latentfp.attribution.estimate import hashed
from latentfp.attribution.tracing import levels_of
from latentfp.choices import Method
from latentfp.data.files import UnreadableImage, file_hash, find_images, read_images
from latentfp.deployment import decoders
from latentfp.deployment.codebook import CodeKind, registered
from latentfp.deployment.constants import subject_in
from latentfp.deployment.deployment import Deployment, Opening, load_generator, open_deployment
from latentfp.fingerprint.codes import pack, unpack
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_float
from latentfp.runtime.progress import progress


class Accused(NamedTuple):
    """A user who is traced, and the chance that any innocent one scores as well."""

    user: str
    p_value: float


class Trace(NamedTuple):
    """What is said of all files together, of which `read` could be read.

    `smallest`: the p-value of the best user, accused or not.
    """

    files: int
    read: int
    users: int
    smallest: float
    accused: tuple[Accused, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields of `latentfp trace --json`."""
        return {**self._asdict(), "accused": [one._asdict() for one in self.accused]}


def trace(folder: Opening, images: Sequence[Path], *, alpha: float, seed: int) -> Trace:
    """Who made the images below `images` together, entered in the audit log.

    All files count as of one origin. ValueError: algebraic codes, no users, no readable file, alpha outside
    (0, 1).
    """
    opened = open_deployment(folder)
    if opened.manifest.codes.kind is CodeKind.BCH:
        raise ValueError("words of an algebraic code depend on each other: only random codes can be traced")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha:g}: expected a rate between 0 and 1")
    users = opened.registry.count()
    if not users:
        raise ValueError(f"{opened.path} has no users: add one with `latentfp users add`")
    paths, loaded = find_images(images), load_generator(opened)
    read, hashes = _read(paths, loaded)
    if not read:
        raise ValueError("none of the files could be read as an image of this generator's size")
    among = registered(opened.codebook, opened.registry.packed, users=users)
    soft = tracing.weights(_levels(opened, loaded, np.stack(read), hashes, seed=seed), repeats=among.repeats)
    codes = unpack(opened.registry.packed(), bits=opened.manifest.bits)[:, :: among.repeats]
    (ranked,) = tracing.suspects(soft, pack(codes), bonferroni=among.bonferroni)
    accused = tuple(
        Accused(opened.registry.name_of(one.user), one.p_value) for one in tracing.traced(ranked, alpha=alpha)
    )
    found = Trace(len(paths), len(read), users, ranked[0].p_value, accused)
    opened.registry.note("trace", found.to_json())
    return found


def _read(paths: Sequence[Path], loaded: Pretrained) -> tuple[list[Float[np.ndarray, "h w 3"]], list[str]]:
    """The images that can be read, and the hashes of their files."""
    read, hashes = [], []
    for path in paths:
        sha256 = file_hash(path)
        ((_, pixels),) = read_images([path], size=loaded.generator.image_shape[:2])
        if sha256 is not None and not isinstance(pixels, UnreadableImage):
            read.append(to_float(pixels))
            hashes.append(sha256)
    return read, hashes


def _levels(
    opened: Deployment,
    loaded: Pretrained,
    images: Float[np.ndarray, "n h w 3"],
    hashes: Sequence[str],
    *,
    seed: int,
) -> Float[np.ndarray, "n k"]:
    """The levels of every image: of a descent from what is read at once, or of several starts."""
    subject, decoder = subject_in(opened, loaded), decoders.find(opened, loaded)
    cascade = make_cascade(subject, decoder, Method.REFINE, key=rng.stream(rng.root(seed), "attribute"))
    with progress("tracing", len(images)) as advance:
        return levels_of(cascades.run(cascade, images, hashed(hashes), progress=advance).estimate)
