"""The demonstration: the whole method on real files, from fitting to verdicts, with a page to look at.

In the folder: `deployment/`, `images/USER/` (with codes), `plain/USER/` (the same latents without),
`attacked/ATTACK/USER/`, `negatives/SOURCE/` (the same generator without a code, and drawings of another
style), and report.json, of which report/demo.py makes the page. Clean images are all attributed; under each
attack the first image of every user is.
"""

import dataclasses
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from latentfp import rng
from latentfp.augment.suites import suite
from latentfp.data import avatars
from latentfp.data.avatars import shrink
from latentfp.data.files import read_image, write_image
from latentfp.deployment import fitting
from latentfp.deployment.attribute import Finding, Request, attribute_all, prepare
from latentfp.deployment.copies import issue
from latentfp.deployment.deployment import Deployment, load_generator
from latentfp.deployment.registry import User
from latentfp.generators.pretrained import Pretrained
from latentfp.runtime.progress import progress, track
from latentfp.studies import demo_record
from latentfp.studies.demo_record import Record, Sample

NAMES = ("alice", "bob", "carol", "dan", "erin", "frank", "grace", "heidi", "ivan", "judy")
OTHER_STYLE = "adventurer"
SUITE = "nie2023"


def run(out: Path, *, users: int, images: int, generator: str, sigma: float | None, seed: int) -> Record:
    """Make the folder and return the record in its report.json. ValueError where it exists."""
    if os.path.lexists(out):
        raise ValueError(f"{out} exists and nothing is overwritten: choose another folder with --out")
    clock = Clock()
    deployment = fitting.fit(
        out / "deployment",
        generator=generator,
        sigma=sigma,
    )
    loaded = load_generator(deployment)
    deployment.registry.add([name_of(i) for i in range(users)], seed=seed)
    added = deployment.registry.users()
    clock.lap("fit")
    samples = list(write_copies(out, deployment, loaded, added, images, seed))
    samples += write_negatives(out, deployment, loaded, images=max(3, images), seed=seed)
    clock.lap("generate")
    samples += write_attacked(out, [s for s in samples if s.user and s.file.endswith("-0000.png")], seed)
    clock.lap("attack")
    findings = attribute(out, deployment, loaded, samples, seed)
    clock.lap("attribute")
    facts = {"images": images, "seed": seed, "size": loaded.generator.image_shape[0]}
    record = demo_record.make(out, deployment, added, samples, findings, seconds=clock.seconds, **facts)
    (out / "report.json").write_text(json.dumps(dataclasses.asdict(record), indent=1))
    return record


def name_of(i: int) -> str:
    """alice, bob, …, then user11, …"""
    return NAMES[i] if i < len(NAMES) else f"user{i + 1}"


class Clock:
    """Seconds of every part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, name: str) -> None:
        """The part that ended just now."""
        now = time.perf_counter()
        self.seconds[name], self._since = round(now - self._since, 2), now


def save(out: Path, name: str, pixels: np.ndarray) -> str:
    """Write pixels below the folder and return the relative path."""
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, pixels)
    return name


def write_copies(
    out: Path, deployment: Deployment, loaded: Pretrained, users: list[User], images: int, seed: int
) -> Iterator[Sample]:
    """Every user's images, with and without the code."""
    manifest = deployment.manifest
    for user in track(users, "generating"):
        issued = issue(
            loaded.generator,
            loaded.params,
            deployment.space,
            np.tile(user.code, (images, 1)),
            sigma=manifest.sigma,
            coding=manifest.coding,
            key=rng.stream(rng.root(seed), f"copy/{user.name}"),
        )
        for i, (plain, marked) in enumerate(zip(issued.plain, issued.marked, strict=True)):
            name = f"{user.name}/{user.name}-{i:04d}.png"
            bare = save(out, f"plain/{name}", plain)
            clean = save(out, f"images/{name}", marked)
            yield Sample(clean, user.name, user.name, plain=bare, clean=clean)


def write_negatives(
    out: Path, deployment: Deployment, loaded: Pretrained, *, images: int, seed: int
) -> Iterator[Sample]:
    """Images that nobody's copy made: unmarked ones, and another style where it can be drawn."""
    size = loaded.generator.image_shape[0]
    nobody = np.zeros((images, deployment.manifest.bits), bool)
    unmarked = issue(
        loaded.generator,
        loaded.params,
        deployment.space,
        nobody,
        sigma=deployment.manifest.sigma,
        coding=deployment.manifest.coding,
        key=rng.stream(rng.root(seed), "unmarked"),
    ).plain
    sources = {"unmarked": unmarked}
    try:
        drawn = avatars.render_many(OTHER_STYLE, range(images), workers=1)
        sources[f"avatars-{OTHER_STYLE}"] = shrink(drawn, size)
    except ImportError:
        pass  # the drawing packages belong to the extra `train`
    for source, pictures in sources.items():
        for i, pixels in enumerate(pictures):
            yield Sample(save(out, f"negatives/{source}/{i:04d}.png", pixels), None, source)


def write_attacked(out: Path, clean: list[Sample], seed: int) -> Iterator[Sample]:
    """Every attack of the suite on the files of `clean`."""
    for attack in suite(SUITE):
        if attack.name == "none":
            continue
        for i, sample in enumerate(track(clean, attack.name)):
            key = rng.stream(rng.root(seed), f"attack/{attack.name}", i)
            pixels = attack.apply(key, read_image(out / sample.file, size=None))
            path = save(out, f"attacked/{attack.name}/{sample.file.removeprefix('images/')}", pixels)
            yield dataclasses.replace(sample, file=path, attack=attack.name)


def attribute(
    out: Path, deployment: Deployment, loaded: Pretrained, samples: list[Sample], seed: int
) -> list[Finding]:
    """Findings of all files by the default method; what is known about a file is not used."""
    paths = [out / sample.file for sample in samples]
    prepared = prepare(deployment, loaded, Request(seed=seed))
    with progress("attributing", len(paths)) as advance:
        return list(attribute_all(prepared, paths, progress=advance))
