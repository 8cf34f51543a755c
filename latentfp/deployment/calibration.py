"""The null of the test whether an image is one of the generator's (attribution/membership.py), measured.

`calibrate` makes images of the deployment, half of them with random codes, sends them through the attacks of
Nie et al. 2023 in turn, and lets the default method explain them with nobody registered. Their misfits lie in
the deployment's folder, and count for the decoder with which they were measured.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from latentfp import rng
from latentfp.attribution.membership import Misfits, Null, explained, misfits
from latentfp.augment.suites import suite
from latentfp.choices import Method, Stage
from latentfp.deployment import decoders
from latentfp.deployment.deployment import Deployment, Opening, load_generator, open_deployment
from latentfp.deployment.manifest import TamperedDeployment
from latentfp.deployment.methods import Budget, make_estimator, subject_in
from latentfp.deployment.own import own
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_float
from latentfp.runtime.files import replacing
from latentfp.runtime.progress import progress, track
from latentfp.types import Pixels

FILE = "membership.json"
SUITE = "nie2023"
FEWEST = 20
GROUP = 128  # images that are explained at once


class Calibration(NamedTuple):
    """What was measured with which decoder (its SHA-256, or empty), and how many estimates failed."""

    deployment: str
    decoder: str
    seed: int
    failed: int
    misfits: list[float]


def calibrate(folder: Opening, *, images: int, seed: int) -> Path:
    """Measure the null, and write it in the folder. ValueError for fewer than 20 images."""
    if images < FEWEST:
        raise ValueError(f"got {images} images, expected at least {FEWEST}; 1000 support a limit of 0.001")
    opened = open_deployment(folder)
    loaded, decoder = load_generator(opened), _decoder(opened)
    found = own_misfits(opened, loaded, images=images, seed=seed)
    finite = np.sort(found[np.isfinite(found)])
    failed = len(found) - len(finite)
    measured = Calibration(opened.manifest.id, decoder, seed, failed, finite.tolist())
    path = opened.path / FILE
    with replacing(path) as fresh, open(fresh, "w") as file:
        json.dump(measured._asdict(), file, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    return path


def own_misfits(opened: Deployment, loaded: Pretrained, *, images: int, seed: int) -> Misfits:
    """The misfits of as many images of the deployment. ValueError where the basis holds leading axes only."""
    subject = subject_in(opened, loaded)
    if not subject.complete:
        raise ValueError(
            f"{opened.path} holds leading axes only, so that images cannot be explained by descents"
        )
    estimator = make_estimator(
        subject,
        decoders.find(opened),
        Method.AUTO,
        key=rng.stream(rng.root(seed), "calibrate/search"),
        budget=Budget(),
        decided=explained,
    )
    made, found = own_images(opened, loaded, images=images, seed=seed), []
    with progress("explaining own images", estimator.work * images) as advance:
        for first in range(0, images, GROUP):
            shown = to_float(np.stack(made[first : first + GROUP]))
            found.append(misfits(estimator.run(shown, first, advance)))
    return np.concatenate(found)


def own_images(opened: Deployment, loaded: Pretrained, *, images: int, seed: int) -> list[Pixels]:
    """Even ones unmarked, odd ones with random codes; through the attacks in turn, two images each."""
    root = rng.root(seed)
    issued = own(opened, loaded, images=images, seed=seed, key=rng.stream(root, "calibrate/images")).issued
    attacks, made = suite(SUITE), []
    for i in track(range(images), "attacking own images"):
        image = issued.marked[i] if i % 2 else issued.plain[i]
        made.append(attacks[i // 2 % len(attacks)].apply(rng.stream(root, "calibrate/attack", i), image))
    return made


def null_of(opened: Deployment) -> Null | None:
    """The null in the deployment's folder, if it was measured with the decoder that is there."""
    path = opened.path / FILE
    if not path.exists():
        return None
    try:
        measured = Calibration(**json.loads(path.read_bytes()))
        values = np.sort(np.asarray(measured.misfits, np.float64))
        failed = np.full(int(measured.failed), np.inf)
    except (ValueError, TypeError, RecursionError) as error:
        raise TamperedDeployment(path, f"not what `latentfp calibrate` writes ({error})") from error
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise TamperedDeployment(path, "found misfits that are not finite numbers")
    if (measured.deployment, measured.decoder) != (opened.manifest.id, _decoder(opened)):
        return None
    return Null(np.concatenate([values, failed]), Stage.MULTISTART)


def _decoder(opened: Deployment) -> str:
    trained = decoders.find(opened)
    return "" if trained is None else trained.sha256
