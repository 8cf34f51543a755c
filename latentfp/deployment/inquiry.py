"""Attribution as a command: from the names of files and of a method to findings."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import jax.numpy as jnp
from jax.tree_util import Partial

from latentfp import rng
from latentfp.attribution import reference, refine
from latentfp.attribution.objective import Distance
from latentfp.data.files import find_images
from latentfp.deployment.deployment import Deployment, load_generator, open_deployment
from latentfp.deployment.investigate import Finding, investigate
from latentfp.deployment.methods import Estimator, Progress, by_reference, by_refinement
from latentfp.generators.pretrained import Pretrained
from latentfp.quality import perceptual, pixels
from latentfp.runtime.progress import progress
from latentfp.types import Image, Scalar


def as_filed(distance: Distance, target: Image, image: Image) -> Scalar:
    """The distance to a render that was limited to [-1, 1], as the pixels of every file were."""
    return distance(target, jnp.clip(image, -1, 1))


def choose_distance(name: str, vgg: Path | None) -> Distance:
    """multiscale, or lpips with the weights in the file `vgg`."""
    if (name == "lpips") != (vgg is not None):
        raise ValueError("--distance lpips and --vgg FILE need each other: give both or neither")
    bare = Partial(perceptual.lpips, perceptual.load(vgg)) if vgg is not None else Partial(pixels.multiscale)
    return Partial(as_filed, bare)


def make_estimator(
    deployment: Deployment,
    loaded: Pretrained,
    *,
    method: str,
    starts: int | None,
    steps: int | None,
    distance: Distance,
    seed: int,
    advance: Progress | None = None,
) -> tuple[Estimator, int]:
    """The estimator of this name ("refine" or "reference"), and how much progress each image makes."""
    given = {name: value for name, value in [("starts", starts), ("steps", steps)] if value is not None}
    if method == "reference":
        settings = reference.STYLEGAN2._replace(**given)
        build = partial(by_reference, settings=settings, distance=distance)
    else:
        settings = refine.Settings()._replace(**given)
        build = partial(by_refinement, settings=settings)
    estimator = build(
        loaded,
        deployment.space,
        sigma=deployment.manifest.sigma,
        coding=deployment.manifest.coding,
        key=rng.stream(rng.root(seed), "attribute"),
        progress=advance,
    )
    return estimator, settings.starts * settings.steps


def attribute(
    folder: str | os.PathLike[str],
    images: Sequence[Path],
    *,
    method: str,
    starts: int | None,
    steps: int | None,
    distance: str,
    vgg: Path | None,
    alpha: float,
    resize: bool,
    seed: int,
) -> Iterator[Finding]:
    """A finding for every image below `images`."""
    opened = open_deployment(folder)
    loaded = load_generator(opened)
    paths = find_images(images)
    counter: list[Progress] = []
    estimate, work = make_estimator(
        opened,
        loaded,
        method=method,
        starts=starts,
        steps=steps,
        seed=seed,
        distance=choose_distance(distance, vgg),
        advance=lambda n: counter[0](n),
    )
    with progress("attributing", work * len(paths)) as advance:
        counter.append(advance)
        yield from investigate(
            paths,
            opened.registry,
            estimate,
            size=loaded.generator.image_shape[:2],
            alpha=alpha,
            resize=resize,
        )
