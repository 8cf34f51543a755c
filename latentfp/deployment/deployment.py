"""What lives on disk: a folder that names the users of one generator.

    manifest.json        facts, versions, and the SHA-256 of the basis            manifest.py
    basis.safetensors    mean [d], axes [q d], stds [q] and, if q < d, rest_std of the latent prior, float32
    users.sqlite         users, codes, audit log            registry.py, audit.py
    decoder/             a decoder of this fingerprint space, if there is one    decoders.py
    generator/           a copy of the generator, if it was bundled      generators/pretrained.py

The manifest holds the hash of the generator's contents, and where it lay as a hint: a folder with a copy of
it may be moved to another machine, without one `generator=` says where it lies there. A deployment
appears whole or not at all and is never overwritten; only the users change afterwards. The folder is made
readable by its owner alone: who has the codes can write any user's mark.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from latentfp.choices import Coding, Layout
from latentfp.deployment.codebook import Codebook, CodeFacts, CodeKind, assign
from latentfp.deployment.manifest import (
    GeneratorFacts,
    Manifest,
    TamperedDeployment,
    axes_hash,
    check_values,
    now,
    read_manifest,
    sha256,
    to_json,
    versions,
)
from latentfp.deployment.registry import Registry
from latentfp.deployment.secret import Secret, check, turned
from latentfp.deployment.secret import read as read_secret
from latentfp.fingerprint.basis import Basis, Space, split
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Source
from latentfp.runtime.files import naming

MANIFEST, BASIS, USERS, GENERATOR = "manifest.json", "basis.safetensors", "users.sqlite", "generator"


class Deployment(NamedTuple):
    """An opened and verified deployment; `space` is the basis split at the manifest's shift and bits."""

    path: Path
    manifest: Manifest
    basis: Basis
    space: Space
    codebook: Codebook
    registry: Registry
    generator: Source | None = None  # where its generator lies, if that was said


# What commands take: a deployment's folder, or one that is open.
Opening = str | os.PathLike[str] | Deployment


def create(
    path: str | os.PathLike[str],
    *,
    generator: GeneratorFacts,
    basis: Basis,
    sigma: float,
    shift: int,
    bits: int,
    coding: Coding,
    min_distance: int,
    repeats: int = 1,
    layout: Layout = Layout.JOINT,
    codes: CodeFacts = CodeFacts(CodeKind.RANDOM),  # noqa: B008
    secret: Secret | None = None,
    bundle: Path | None = None,
) -> Deployment:
    """Write a new deployment without users and open it.

    `sigma` in the latent's units, `min_distance` in bits between any two users' codes, of which each message
    bit comes `repeats` times in a row; `layout`: how the basis was fitted; `secret` turns the code's axes and
    is not kept; `bundle`: the generator's folder, of which the deployment gets a copy. ValueError where
    `path` exists or a value is out of range; nothing is left behind by any failure.
    """
    folder = Path(path)
    if os.path.lexists(folder):
        raise ValueError(f"{folder} exists and a deployment overwrites nothing: choose another folder")
    arrays, identity = _to_bytes(basis), secrets.token_hex(16)
    space = split(basis, shift=shift, bits=bits)
    manifest = Manifest(
        id=identity,
        created=now(),
        versions=versions(),
        generator=generator,
        sigma=float(sigma),
        shift=shift,
        bits=bits,
        coding=coding,
        min_distance=min_distance,
        repeats=repeats,
        layout=layout,
        rotation="" if secret is None else check(secret, identity),
        axes=axes_hash(space if secret is None else turned(space, secret, identity)),
        codes=codes,
        parts={BASIS: sha256(arrays)},
    )
    check_values(manifest)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with naming(folder):
            _write(partial / BASIS, arrays)
            _write(partial / MANIFEST, to_json(manifest))
            _registry(partial, manifest, lambda: secret).create()
            if bundle is not None:
                (partial / GENERATOR).mkdir()
                for name in (pretrained.DESCRIPTION, pretrained.WEIGHTS):
                    shutil.copyfile(bundle / name, partial / GENERATOR / name)
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return open_deployment(folder, secret=secret)


def open_deployment(
    path: Opening, *, secret: Secret | None = None, generator: Source | None = None
) -> Deployment:
    """Open a deployment, every part verified; one that is open is returned as it is.

    `secret`: of a deployment that needs one; else it is read from the file that LATENTFP_SECRET names.
    `generator`: the deployment's generator, or where it lies now; else it is the copy in the folder, or lies
    where it did at the fit.
    ValueError where there is none or the secret is another's, TamperedDeployment (a ValueError) that names
    the part, what was found and what was expected. The generator is verified by `load_generator`.
    """
    if isinstance(path, Deployment):
        return path
    folder = Path(path)
    manifest = _verified_manifest(folder, BASIS, USERS)
    basis = read_basis(folder / BASIS, expected=manifest.parts[BASIS])
    try:
        space = split(basis, shift=manifest.shift, bits=manifest.bits)
    except ValueError as error:
        raise TamperedDeployment(folder / MANIFEST, str(error)) from error
    known = _own(folder, manifest, secret)
    if known is not None:
        space = turned(space, known, manifest.id)
    if axes_hash(space) != manifest.axes:
        fault = f"the code's axes have the hash {axes_hash(space)}, expected {manifest.axes} as at the fit"
        raise TamperedDeployment(folder / MANIFEST, fault)
    codebook = _codebook(manifest, known)
    registry = _registry(folder, manifest, lambda: codebook.secret)
    registry.check()
    return Deployment(folder, manifest, basis, space, codebook, registry, generator)


def open_registry(path: str | os.PathLike[str]) -> Registry:
    """The users of a deployment, without its basis.

    Reading users needs no secret. What changes or logs something, and what verifies the log, reads the secret
    of a deployment that has one from the file that LATENTFP_SECRET names, and only then raises ValueError
    where there is none or it is another's. TamperedDeployment as `open_deployment`.
    """
    folder = Path(path)
    manifest = _verified_manifest(folder, USERS)
    registry = _registry(folder, manifest, lambda: _own(folder, manifest, None))
    registry.check()
    return registry


def _verified_manifest(folder: Path, *parts: str) -> Manifest:
    if not (folder / MANIFEST).is_file():
        raise ValueError(
            f"{folder} holds no {MANIFEST}, so no deployment: make one with `latentfp fit --out`"
        )
    for part in parts:
        if not (folder / part).is_file():
            raise TamperedDeployment(folder / part, "found no such file, expected it beside the manifest")
    return read_manifest(folder / MANIFEST)


def _codebook(manifest: Manifest, secret: Secret | None) -> Codebook:
    return Codebook(
        manifest.codes,
        bits=manifest.bits,
        repeats=manifest.repeats,
        min_distance=manifest.min_distance,
        identity=manifest.id,
        secret=secret,
        balanced=manifest.coding is Coding.BINARY,
    )


def _registry(folder: Path, manifest: Manifest, secret: Callable[[], Secret | None]) -> Registry:
    def key() -> bytes | None:
        known = secret()
        return None if known is None else known.derive("audit", manifest.id)

    return Registry(
        folder / USERS,
        manifest.id,
        manifest.bits,
        lambda *new: assign(_codebook(manifest, secret()), *new),
        key,
        manifest.repeats,
    )


def _own(folder: Path, manifest: Manifest, secret: Secret | None) -> Secret | None:
    """The secret of a deployment that has one."""
    if not manifest.rotation:
        return None
    found = read_secret() if secret is None else secret
    if check(found, manifest.id) != manifest.rotation:
        raise ValueError(f"{folder} was made with another secret: give the one of its fit")
    return found


def load_generator(deployment: Deployment) -> pretrained.Pretrained:
    """The deployment's generator: the one that was given, the copy in its folder, or from where it lay.

    A generator of one's own must be given: what a file names is never imported. ValueError where there is
    none or another one is given, TamperedDeployment where the one that is found is another.
    """
    stated, copy = deployment.manifest.generator, deployment.path / GENERATOR
    if deployment.generator is not None:
        loaded = pretrained.load(deployment.generator, identity=stated.identity)
    elif copy.exists():
        loaded = _found(copy, stated.identity)
    elif (pretrained.folder_of(stated.name) / pretrained.DESCRIPTION).is_file():
        loaded = _found(Path(stated.name), stated.identity)
    else:
        raise ValueError(
            f"{deployment.path} has no copy of its generator, and none is at {stated.name!r}: say where it "
            "lies with --generator"
        )
    dimensions = deployment.basis.mean.shape[0]
    if loaded.generator.latent_dim != dimensions:
        fault = (
            f"found {loaded.generator.latent_dim} latent dimensions, expected {dimensions} as in the basis"
        )
        raise TamperedDeployment(Path(loaded.name), fault)
    return loaded


def _found(where: Path, identity: str) -> pretrained.Pretrained:
    """What is stored there. TamperedDeployment where it is damaged or another one."""
    try:
        loaded = pretrained.load_stored(str(where), identity=identity)
    except ValueError as error:
        raise TamperedDeployment(where, str(error)) from error
    if loaded.identity != identity:
        raise TamperedDeployment(where, f"found a generator {loaded.identity}, expected {identity}")
    return loaded


def _write(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        os.fsync(file.fileno())


def _to_bytes(basis: Basis) -> bytes:
    arrays = {name: np.asarray(array, dtype=np.float32) for name, array in basis._asdict().items()}
    if basis.stds.size == basis.mean.size:
        del arrays["rest_std"]
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("got a basis with NaN or infinite numbers, expected finite ones: fit it again")
    return safetensors.numpy.save(arrays)


def read_basis(path: Path, *, expected: str | None = None) -> Basis:
    """The basis in a file of which the SHA-256 may be `expected`. TamperedDeployment if it is not so."""
    data = path.read_bytes()
    found = sha256(data)
    if expected is not None and found != expected:
        raise TamperedDeployment(path, f"found SHA-256 {found}, expected {expected}")
    try:
        basis = Basis(**{name: jnp.asarray(array) for name, array in safetensors.numpy.load(data).items()})
    except (SafetensorError, TypeError) as error:
        raise TamperedDeployment(path, f"not the arrays {Basis._fields} ({error})") from error
    d, q = basis.mean.size, basis.stds.size
    shapes = [array.shape for array in basis[:3]]
    if np.shape(basis.rest_std) != () or not np.asarray(basis.rest_std) >= 0:
        raise TamperedDeployment(path, "found a rest_std that is not one number from 0 on")
    if shapes != [(d,), (q, d), (q,)] or q > d:
        raise TamperedDeployment(path, f"found shapes {shapes}, expected {[(d,), (q, d), (q,)]}, {q} <= {d}")
    return basis
