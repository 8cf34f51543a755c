"""The Python API: a deployment as one object, and the functions that make, open and measure one.

`latentfp` offers these names itself; each is imported when it is first used.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from jaxtyping import UInt8

from latentfp import rng
from latentfp.augment.attacks import Attack
from latentfp.choices import CopyFormat, Format, Method, Status
from latentfp.data.files import write_image
from latentfp.deployment import attribute as attribution
from latentfp.deployment import calibration, copies, decoders, fitting, origin
from latentfp.deployment import deployment as folders
from latentfp.deployment.attribute import Finding, Request
from latentfp.deployment.manifest import Manifest
from latentfp.deployment.origin import Joint, Trace
from latentfp.deployment.registry import User
from latentfp.deployment.secret import Secret
from latentfp.generators import linear
from latentfp.generators.generator import Generator
from latentfp.generators.pretrained import Pretrained, Source
from latentfp.types import Params

if TYPE_CHECKING:
    import pyarrow

StrPath = str | os.PathLike[str]
# One image or several: a file, a folder, a PIL image, uint8 arrays [h w 3] or [n h w 3], or a list of these.
Images = Any


class Users:
    """The registered users of a deployment, in order of registration.

    >>> users = lf.open("deployment").users
    >>> users.add("carol", note="trial")
    ['carol']
    >>> users.revoke("carol", note="contract ended").status.value
    'revoked'
    >>> len(users), "carol" in users, [user.name for user in users]
    (3, True, ['alice', 'bob', 'carol'])
    """

    def __init__(self, opened: folders.Deployment):
        self._registry = opened.registry

    def __len__(self) -> int:
        return self._registry.count()

    def __iter__(self) -> Iterator[User]:
        return self._registry.stream()

    def __contains__(self, name: object) -> bool:
        try:
            return bool(self[str(name)])
        except ValueError:
            return False

    def __getitem__(self, name: str) -> User:
        return self._registry.user(name)

    def __repr__(self) -> str:
        return f"<{len(self)} users>"

    def add(self, *names: str, note: str = "", seed: int | None = None) -> list[str]:
        """Register users, all or none, each with a code of their own; returns their names.

        `seed` makes the codes repeatable, for a study; whoever knows it knows them. ValueError for a name
        that is taken, given twice, or no username.
        """
        self._registry.add(names, note=note, seed=seed)
        return list(names)

    def revoke(self, name: str, *, note: str = "") -> User:
        """Take a user's copy out of use; its images are still attributed. `note` joins earlier ones."""
        return self._registry.set_status(name, Status.REVOKED, note=note)

    def reinstate(self, name: str, *, note: str = "") -> User:
        """Take a revocation back."""
        return self._registry.set_status(name, Status.ACTIVE, note=note)


class Deployment:
    """The fingerprint space of one generator, and its users: what `fit` makes and `open` opens.

    >>> dep = lf.open("deployment")
    >>> dep
    <latentfp.Deployment deployment: linear, 16 bits, 2 users>
    >>> images = dep.generate("alice", count=2, seed=0)
    >>> images.dtype.name, images.shape
    ('uint8', (2, 8, 8, 3))
    >>> [finding.user for finding in dep.attribute(images, alpha=1e-2)]
    ['alice', 'alice']
    """

    def __init__(self, opened: folders.Deployment):
        self._opened = opened
        self.users = Users(opened)

    def __repr__(self) -> str:
        name, bits = Path(self.manifest.generator.name).name, self.manifest.bits
        return f"<latentfp.Deployment {self.path}: {name}, {bits} bits, {len(self.users)} users>"

    @property
    def path(self) -> Path:
        """The folder."""
        return self._opened.path

    @property
    def manifest(self) -> Manifest:
        """What was fitted, and how."""
        return self._opened.manifest

    @cached_property
    def generator(self) -> Pretrained:
        """The generator with its parameters, verified to be that of the fit."""
        return folders.load_generator(self._opened)

    def generate(
        self, user: str, *, count: int = 1, seed: int = 0, first: int = 0
    ) -> UInt8[np.ndarray, "n h w 3"]:
        """Images `first` … `first + count - 1` of a seed of a user's copy, sRGB; entered in the audit log.

        ValueError for an unknown or revoked user.
        """
        return copies.generate(self._opened, user=user, count=count, seed=seed, first=first)

    def save(
        self, images: UInt8[np.ndarray, "n h w 3"], folder: StrPath, *, name: str = "image-{:04d}.png"
    ) -> list[Path]:
        """Write images into a folder and return the files, numbered from 0; the suffix says the format.

        ValueError rather than overwriting a file.
        """
        files = [Path(folder) / name.format(i) for i in range(len(images))]
        for file in files:
            if file.exists():
                raise ValueError(f"{file} exists and nothing is overwritten: choose another folder or name")
        Path(folder).mkdir(parents=True, exist_ok=True)
        for file, image in zip(files, images, strict=True):
            write_image(file, image)
        return files

    @overload
    def attribute(
        self,
        images: Images,
        *,
        together: Literal[True],
        alpha: float = ...,
        seed: int = ...,
        strict_size: bool = ...,
        committed: bool = ...,
    ) -> Joint: ...

    @overload
    def attribute(
        self,
        images: Images,
        *,
        together: Literal[False] = ...,
        method: str = ...,
        alpha: float = ...,
        damage: Mapping[str, float] | None = ...,
        seed: int = ...,
        strict_size: bool = ...,
        case: bool = ...,
        committed: bool = ...,
        exact: bool = ...,
    ) -> list[Finding]: ...

    def attribute(
        self,
        images: Images,
        *,
        together: bool = False,
        method: str = "auto",
        alpha: float = attribution.ALPHA,
        damage: Mapping[str, float] | None = None,
        seed: int = 0,
        case: bool = False,
        committed: bool = False,
        strict_size: bool = False,
        exact: bool = False,
    ) -> list[Finding] | Joint:
        """Whose copy made each image, or that none did: findings in order, entered in the audit log.

        With `together` all images are of one origin, and one verdict is reached on all: a `Joint`.

        `images`: a file, a folder, a PIL image, uint8 arrays [h w 3] or [n h w 3], or a list of these.
        `alpha`: the largest chance, an image, or with `case` of any image of the call, that any innocent user
        is named; `committed`: whether supplied or seeded codes were committed to before; `method` and
        `damage`: as of `latentfp attribute`. Images of another size are resampled, or refused with
        `strict_size`. `exact`: read every bit, also where a few of them name a user. What is no image is a
        finding whose verdict is "unreadable". ValueError: no users, `alpha` out of reach, a method that
        cannot run, or an option that `together` does not take: method, damage, case, exact.
        """
        request = Request(
            method=Method(method),
            alpha=alpha,
            damage=damage,
            seed=seed,
            case=case,
            committed=committed,
            strict_size=strict_size,
            exact=exact,
        )
        if together:
            return origin.attribute_together(self._opened, images, request)
        return list(attribution.attribute(self._opened, images, request))

    def verify(
        self,
        user: str,
        images: Images,
        *,
        alpha: float = attribution.ALPHA,
        seed: int = 0,
        considered: int | None = None,
        committed: bool = False,
        strict_size: bool = False,
    ) -> list[Finding]:
        """As `attribute`, of one user alone, who was chosen among `considered` ones.

        All registered ones count if that is not said; 1 is for a user who was known before anybody looked at
        the images.
        """
        request = Request(
            alpha=alpha, seed=seed, considered=considered, committed=committed, strict_size=strict_size
        )
        return list(attribution.attribute(self._opened, images, request, user=user))

    def trace(self, images: Sequence[StrPath], *, alpha: float = attribution.ALPHA, seed: int = 0) -> Trace:
        """Which users made these files of one origin together, by averaging their images or copies."""
        return origin.trace(self._opened, [Path(image) for image in images], alpha=alpha, seed=seed)

    def export(self, user: str, out: StrPath, *, format: str | None = None) -> Path:
        """Write a user's copy as "rosinality", "nvidia", "latentfp" or "latents"; returns `out`.

        The format of the generator if none is given. ValueError where it cannot have this one.
        """
        form = None if format is None else CopyFormat(format)
        copies.export_copy(self._opened, user=user, out=Path(out), form=form)
        return Path(out)

    def calibrate(self, *, images: int = 1000, seed: int = 0) -> None:
        """Measure how well reference images are explained, so that images of other origin can be detected."""
        calibration.calibrate(self._opened, images=images, seed=seed)

    def adopt(self, decoder: StrPath) -> None:
        """Give the deployment a decoder that training wrote, unvalidated."""
        decoders.adopt(self._opened, Path(decoder))


def fit(out: StrPath, *, generator: Source = "avatars", **options: Any) -> Deployment:
    """Fit a fingerprint space to a generator and write it as a new deployment, without users.

    `generator`: an embedded one ("avatars", "avatars-ldm"), a folder, `package.module:make`, or a pair
    (Generator, parameters). `options`: those of `latentfp fit`, such as sigma, shift, bits, secret.
    ValueError where `out` exists, or where the generator or an option cannot be used.

    >>> dep = lf.fit("fitted", generator=lf.linear_generator(), sigma=0.5, bits=16, samples=100)
    >>> dep.users.add("alice")
    ['alice']
    """
    return Deployment(fitting.fit(out, generator=generator, **options))


def open(path: StrPath, *, generator: Source | None = None, secret: Secret | None = None) -> Deployment:
    """Open a deployment, every part verified.

    `generator`: where its generator lies now, or the pair itself, if the folder has no copy of it; `secret`:
    that of the fit, if it had one and LATENTFP_SECRET names no file. ValueError where something is missing;
    TamperedDeployment names a part that is not as it was written.

    >>> lf.open("deployment").manifest.bits
    16
    """
    return Deployment(folders.open_deployment(path, generator=generator, secret=secret))


def import_generator(
    path: StrPath,
    out: StrPath,
    *,
    format: str | None = None,
    config: StrPath | None = None,
    size: int | None = None,
) -> Path:
    """Write the generator of another program as a folder that `fit` takes; returns `out`.

    `path`: a checkpoint of rosinality, NVIDIA or CompVis (whose .yaml is `config`, if it does not lie beside
    it), a folder of diffusers, a file of TAESD's author, or one of ours; `format`: its name, recognised if
    left out; `size`: of an autoencoder's images, in pixels a side. Nothing in a file is executed. ValueError
    that says what a file is, if it cannot be read.

    >>> lf.import_generator("linear", "mine").name
    'mine'
    """
    from latentfp.checkpoints import formats

    form = None if format is None else Format(format)
    configuration = None if config is None else Path(config)
    formats.import_generator(Path(path), Path(out), form=form, configuration=configuration, size=size)
    return Path(out)


def export_generator(generator: Source, out: StrPath, *, format: str | None = None) -> Path:
    """Write a generator without any code for other software, as `Deployment.export` writes a copy.

    >>> lf.export_generator("linear", "plain", format="latentfp").name
    'plain'
    """
    form = None if format is None else CopyFormat(format)
    copies.export_generator(generator, out=Path(out), form=form)
    return Path(out)


def linear_generator(*, latent_dim: int = 24, size: int = 8) -> tuple[Generator, Params]:
    """The generator x = A w + b with its parameters: exact answers, for tests and for learning.

    `latent_dim` may be at most 3 size².

    >>> generator, params = lf.linear_generator()
    >>> generator.image_shape
    (8, 8, 3)
    """
    fields = {"latent_dim": latent_dim, "size": size}
    return linear.make(**fields), linear.init(rng.root(0), **fields)


def evaluate(
    deployment: Deployment,
    *,
    attacks: Sequence[Attack],
    images: int = 100,
    seed: int = 0,
    alpha: float = attribution.ALPHA,
) -> "pyarrow.Table":
    """How often the registered users' images are named under each attack: a row an attack.

    >>> dep = lf.open("deployment")
    >>> table = lf.evaluate(dep, attacks=lf.suite("nie2023")[:1], images=4, alpha=1e-2)
    >>> table.select(["attack", "images", "named_wrong"]).to_pylist()
    [{'attack': 'none', 'images': 4, 'named_wrong': 0}]
    """
    from latentfp.studies import evaluation

    return evaluation.evaluate(
        deployment._opened, deployment.generator, attacks=attacks, images=images, seed=seed, alpha=alpha
    )
