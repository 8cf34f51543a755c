"""What a deployment makes of reference images: its own, with codes that belong to nobody.

`calibrate` measures the null of attribution/membership.py: reference images go through the attacks of all
suites, and the default method explains them with nobody registered. How well it does, and how well it reads
their codes, lies in the deployment's folder, and counts for the decoder with which it was measured.

`validate` tests a decoder before it is adopted. Descents begin where a decoder reads and believe the damage
that it states, also those that begin elsewhere. So one that was trained too briefly, which sees damage where
there is none, leaves the default method worse off than no decoder would.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from latentfp import rng
from latentfp.attribution import cascade as cascades
from latentfp.attribution.cascade import Budget, make_cascade
from latentfp.attribution.confidence import tempers
from latentfp.attribution.decoder import TrainedDecoder
from latentfp.attribution.estimate import numbered, stack
from latentfp.attribution.evidence import miss_p_value, score, soften
from latentfp.attribution.membership import Misfits, Null, explained, misfits
from latentfp.augment.suites import SUITES
from latentfp.choices import Method, Stage
from latentfp.deployment import decoders
from latentfp.deployment.constants import subject_in
from latentfp.deployment.copies import Issued, issue
from latentfp.deployment.deployment import Deployment, Opening, load_generator, open_deployment
from latentfp.deployment.manifest import TamperedDeployment
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_float
from latentfp.runtime.files import replacing
from latentfp.runtime.progress import progress, track
from latentfp.types import Key, Pixels

FILE = "membership.json"
FEWEST = 20
GROUP = 128  # images that are explained at once
VALIDATED = 16  # images on which a decoder is validated


class ReferenceImages(NamedTuple):
    """The same latents without and with a code, and the codes: fair and independent, repeats included."""

    issued: Issued
    codes: Bool[np.ndarray, "n k"]


def reference_images(
    opened: Deployment, loaded: Pretrained, *, images: int, seed: int, key: Key
) -> ReferenceImages:
    """As many images; `key` draws the latents, `seed` the codes."""
    manifest = opened.manifest
    message = manifest.bits // manifest.repeats
    codes = np.random.default_rng(seed).integers(2, size=(images, message)).astype(bool)
    codes = codes.repeat(manifest.repeats, axis=1)
    return ReferenceImages(issue(subject_in(opened, loaded), codes, key=key), codes)


class Calibration(NamedTuple):
    """What was measured with which decoder (its SHA-256, or empty), and how many estimates failed.

    `misfits` of the others, and miss p-values of all images' own codes.
    """

    deployment: str
    decoder: str
    seed: int
    failed: int
    misfits: list[float]
    misses: list[float]


def calibrate(folder: Opening, *, images: int, seed: int) -> Path:
    """Measure the null, and write it in the folder. ValueError for fewer than 20 images."""
    if images < FEWEST:
        raise ValueError(f"got {images} images, expected at least {FEWEST}; 1000 support a limit of 0.001")
    opened = open_deployment(folder)
    loaded, decoder = load_generator(opened), decoders.hash_of(opened)
    found, misses = measured(opened, loaded, images=images, seed=seed)
    finite = np.sort(found[np.isfinite(found)])
    kept = Calibration(
        deployment=opened.manifest.id,
        decoder=decoder,
        seed=seed,
        failed=len(found) - len(finite),
        misfits=finite.tolist(),
        misses=np.sort(misses).tolist(),
    )
    path = opened.path / FILE
    with replacing(path) as fresh, open(fresh, "w") as file:
        json.dump(kept._asdict(), file, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    return path


def measured(
    opened: Deployment, loaded: Pretrained, *, images: int, seed: int
) -> tuple[Misfits, Float[np.ndarray, " images"]]:
    """The misfits of attacked reference images, and the miss p-values of their codes.

    ValueError where the basis holds leading axes only.
    """
    subject = subject_in(opened, loaded)
    if not subject.complete:
        raise ValueError(
            f"{opened.path} holds leading axes only, so that images cannot be explained by descents"
        )
    key = rng.stream(rng.root(seed), "calibrate/search")
    cascade = make_cascade(subject, decoders.find(opened, loaded), Method.AUTO, key=key)
    made, codes = attacked_images(opened, loaded, images=images, seed=seed)
    answers = []
    with progress("explaining reference images", images) as advance:
        for first in range(0, images, GROUP):
            shown = to_float(np.stack(made[first : first + GROUP]))
            ids = numbered(first, len(shown))
            answers.append(
                cascades.run(cascade, shown, ids, decided=lambda a, _: explained(a), progress=advance)
            )
    found, repeats = stack(answers), opened.manifest.repeats
    soft = soften(np.asarray(found.estimate.logits), repeats=repeats)
    return misfits(found), miss_p_value(soft, score(soft, codes[:, ::repeats]), tempers(found))


def attacked_images(
    opened: Deployment, loaded: Pretrained, *, images: int, seed: int
) -> tuple[list[Pixels], Bool[np.ndarray, "images k"]]:
    """Marked images through the attacks of all suites, in an order that is shuffled, and their codes."""
    root = rng.root(seed)
    key = rng.stream(root, "calibrate/images")
    made = reference_images(opened, loaded, images=images, seed=seed, key=key)
    attacks = [attack for suite in SUITES.values() for attack in suite]
    order = np.random.default_rng(seed).permutation(len(attacks))
    attacked = [
        attacks[order[i % len(order)]].apply(rng.stream(root, "calibrate/attack", i), made.issued.marked[i])
        for i in track(range(images), "attacking reference images")
    ]
    return attacked, made.codes


def null_of(opened: Deployment) -> Null | None:
    """The null in the deployment's folder, if it was measured with the decoder that is there."""
    path = opened.path / FILE
    if not path.exists():
        return None
    try:
        kept = Calibration(**json.loads(path.read_bytes()))
        fits, misses = (np.sort(np.asarray(it, np.float64)) for it in (kept.misfits, kept.misses))
        failed = np.full(int(kept.failed), np.inf)
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise TamperedDeployment(path, f"not what `latentfp calibrate` writes ({error})") from error
    for values in (fits, misses):
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
            raise TamperedDeployment(path, "found numbers that are not finite")
    if (kept.deployment, kept.decoder) != (opened.manifest.id, decoders.hash_of(opened)):
        return None
    return Null(np.concatenate([fits, failed]), misses, Stage.MULTISTART)


class Validation(NamedTuple):
    """Of so many images: shares of bits in 0 … 1 that are right, and how many images a descent explains."""

    images: int
    read: float  # by the decoder
    descended: float  # after a descent from there
    explained: int  # as undamaged, to within rounding

    @property
    def passed(self) -> bool:
        """Whether descents from its readings explain at least half of the images."""
        return 2 * self.explained >= self.images

    def __str__(self) -> str:
        return (
            f"{100 * self.read:.1f} % of bits read right, {100 * self.descended:.1f} % after a descent, "
            f"which explains {self.explained} of {self.images} undamaged images"
        )


def validate(
    opened: Deployment, trained: TrainedDecoder, *, images: int = VALIDATED, seed: int = 0
) -> Validation:
    """What descents make of a decoder's readings of undamaged reference images, with progress.

    ValueError where no descent can follow: the basis holds leading axes only.
    """
    loaded, root = load_generator(opened), rng.root(seed)
    key = rng.stream(root, "trial/search")
    subject = subject_in(opened, loaded)
    reading, descent = (
        make_cascade(subject, trained, method, key=key, budget=Budget())
        for method in (Method.DECODER, Method.REFINE)
    )
    made = reference_images(opened, loaded, images=images, seed=seed, key=rng.stream(root, "trial/images"))
    shown, ids = to_float(made.issued.marked), numbered(0, images)
    with progress("validating the decoder", 2 * images) as advance:
        first, last = (cascades.run(it, shown, ids, progress=advance) for it in (reading, descent))
    shares = (float((found.estimate.code == made.codes).mean()) for found in (first, last))
    return Validation(images, *shares, explained=int(explained(last).sum()))


def validated(opened: Deployment, folder: Path) -> Validation:
    """The validation of the decoder in `folder`. ValueError if it misleads, and as `decoders.load`."""
    found = validate(opened, decoders.load(folder, opened))
    if not found.passed:
        raise ValueError(
            f"the decoder in {folder} misleads: {found}. Train it for longer; without one, files are "
            "searched from several starts (--untested adopts it all the same)"
        )
    return found
