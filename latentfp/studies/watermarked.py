"""Watermarked images as an investigator gets them: made, saved, read, attacked, saved and read again.

Every file is a real PNG. Image i follows from the seed and i alone, so a study may add images later.
"""

import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from latentfp import rng
from latentfp.attribution.descent import Subject
from latentfp.augment.attacks import Attack
from latentfp.augment.suites import suite
from latentfp.data.files import read_image, write_image
from latentfp.deployment.copies import batch_of, issue

Rows = UInt8[np.ndarray, "n h w 3"]


def attack_of(name: str, attack: str) -> Attack:
    """The attack of this name in the suite `name`. ValueError lists the known ones."""
    chosen = {entry.name: entry for entry in suite(name)}
    if attack not in chosen:
        raise ValueError(f"attack {attack!r}: expected one of {', '.join(chosen)}")
    return chosen[attack]


def marked_images(subject: Subject, codes: Bool[np.ndarray, "n k"], *, seed: int, first: int = 0) -> Rows:
    """Images number `first`, `first` + 1, … of a deployment, one for each code, not yet saved."""
    return issue(
        subject.generator,
        subject.params,
        subject.space,
        codes,
        sigma=subject.sigma,
        coding=subject.coding,
        key=rng.stream(rng.root(seed), "study"),
        first=first,
    ).marked


def marked_with_fresh_noise(subject: Subject, codes: Bool[np.ndarray, "n k"], *, seed: int) -> Rows:
    """The same contents and codes with noise maps that are drawn afresh for every image and known to nobody.

    ValueError where the generator has no noise maps.
    """
    renoise = subject.generator.renoise
    if renoise is None:
        raise ValueError(f"generator {subject.generator.name} has no noise maps: leave this setting out")
    parts = []
    batch = batch_of(subject.generator)
    for first in range(0, len(codes), batch):
        key = rng.stream(rng.root(seed), "noise maps", first)
        renewed = subject._replace(params=renoise(subject.params, key, batch))
        parts.append(marked_images(renewed, codes[first : first + batch], seed=seed, first=first))
    return np.concatenate(parts)


def through_files(images: Rows, attack: Attack, *, seed: int, first: int = 0) -> Rows:
    """Images number `first`, `first` + 1, … after saving, reading, attacking, saving and reading again."""
    keys = [rng.stream(rng.root(seed), "attack", first + i) for i in range(len(images))]
    with tempfile.TemporaryDirectory() as folder:
        read = (_filed(Path(folder) / f"{i}.png", image) for i, image in enumerate(images))
        attacked = [attack.apply(key, image) for key, image in zip(keys, read, strict=True)]
        return np.stack(
            [_filed(Path(folder) / f"{i}-attacked.png", image) for i, image in enumerate(attacked)]
        )


def _filed(path: Path, image: np.ndarray) -> np.ndarray:
    write_image(path, image)
    return read_image(path, size=image.shape[:2])
