"""Speed and accuracy of every way of attribution against the paper's search, on the same images.

A deployment with `users` registered codes issues clean images, one a user; each is saved and read again. A
method first answers other images, so that its programs are compiled and loaded; that call is reported apart.
Then it answers the measured images, twice where that takes little, and the faster call counts: the first may
still compile for a number of images that did not occur before. The search comes last, image by image.

Costs: seconds of an image, passes (evaluations of the generator and products with its Jacobian or the
transpose), looks (passes of the decoder's network). Finished parts lie in `parts.jsonl`.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from latentfp.attribution.estimate import Answer
from latentfp.attribution.ranking import among
from latentfp.attribution.verdict import Registered, judge
from latentfp.choices import Method, Stage
from latentfp.deployment.inquiry import stage_by_stage, sufficient
from latentfp.deployment.methods import Budget
from latentfp.fingerprint.codes import CodeBook, draw_codes
from latentfp.pixels import to_float
from latentfp.runtime.memory import peak_memory
from latentfp.studies.budgets import search_of
from latentfp.studies.journal import Journal, Numbers
from latentfp.studies.marked import attack_of, marked_images, through_files
from latentfp.studies.scene import (
    Scene,
    accuracy_of,
    answers,
    identity,
    open_scene,
    readers,
    wrong_bits,
)

WARM_STEPS = 2  # updates of the search that compile its program


class Plan(NamedTuple):
    """How many images each method answers, among how many users, and the budget of the search."""

    images: int
    multistart_images: int
    reference_images: int
    warm_images: int
    users: int
    alpha: float
    reference_starts: int
    reference_steps: int


class Shown(NamedTuple):
    """Codes of all users, of which user i made image i, and the images [-1, 1]; others to warm up with."""

    book: CodeBook
    repeats: int  # of each bit of a message
    images: Float[np.ndarray, "n h w 3"]
    others: Float[np.ndarray, "m h w 3"]


def run(
    *,
    title: str,
    command: str,
    hardware: str,
    deployment: str,
    plan: Mapping[str, Any],
    seed: int,
    workdir: Path,
) -> dict[str, Any]:
    """Measure what `workdir` does not hold yet, and write attribution.json.

    `plan`: the fields of Plan. ValueError: fewer users than images, or an alpha out of their reach.
    """
    chosen = Plan(**plan)
    _check(chosen)
    scene = open_scene(deployment, seed=seed)
    workdir.mkdir(parents=True, exist_ok=True)
    journal = Journal(workdir / "parts.jsonl")
    facts, shown = {**identity(scene), **chosen._asdict()}, _show(scene, chosen)
    parts = {
        method: journal.kept({**facts, "part": method}, lambda m=method: measure(scene, chosen, shown, m))
        for method in _methods(scene)
    }
    curvature = journal.kept(
        {**identity(scene), "part": "mean curvature"},
        lambda: {"seconds": _seconds(open_scene(deployment, seed=seed).subject.curvature)[0]},
    )
    parts["reference"] = search(scene, chosen, shown, journal, facts)
    result = {
        **{"title": title, "command": command, "hardware": hardware, "backend": jax.default_backend()},
        **{"sigma": scene.opened.manifest.sigma, "bits": scene.subject.bits, "seed": seed, "plan": plan},
        "curvature_seconds": curvature["seconds"],
        "methods": [_row(scene, chosen, name, parts) for name in parts],
    }
    (workdir / "attribution.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def measure(scene: Scene, plan: Plan, shown: Shown, method: str) -> Numbers:
    """Wrong bits of each image, verdicts and costs of a method other than the search."""
    budget, users = Budget(), _registered(scene, shown, method)
    decided, chosen = sufficient(users, alpha=plan.alpha), Method(method)
    images = shown.images[: plan.multistart_images if method == Method.MULTISTART else None]
    if method not in (Method.ENCODER, Method.DECODER):
        scene.subject.curvature()

    def call(some: Float[np.ndarray, "n h w 3"], first: int, label: str) -> tuple[float, Answer]:
        return _seconds(
            lambda: answers(
                scene, chosen, some, first=first, label=f"{method}, {label}", budget=budget, decided=decided
            )
        )

    warm = shown.others[: len(images)]
    first_call, _ = call(warm, len(shown.images), "other images")
    timed = [call(images, 0, f"call {i + 1} of 2") for i in range(2)]
    return {
        **_answered(plan, shown, users, timed[-1][1]),
        "seconds": min(seconds for seconds, _ in timed),
        "first_call_seconds": first_call,
        "peak_memory_mib": peak_memory(),
    }


def search(scene: Scene, plan: Plan, shown: Shown, journal: Journal, facts: dict[str, Any]) -> Numbers:
    """The same of the paper's search, of which every image is kept as soon as it is done."""
    starts, steps = plan.reference_starts, plan.reference_steps
    budget = Budget(search=search_of(scene.subject.generator, starts=starts, steps=steps))
    brief = Budget(search=budget.search._replace(steps=WARM_STEPS))
    warm: list[float] = []
    users = _registered(scene, shown, Method.REFERENCE)

    def one(i: int) -> Numbers:
        if not warm:
            other = shown.others[:1]
            seconds, _ = _seconds(
                lambda: answers(scene, Method.REFERENCE, other, label="reference, other image", budget=brief)
            )
            warm.append(seconds)
        label = f"reference, image {i + 1} of {plan.reference_images}"
        image = shown.images[i : i + 1]
        seconds, found = _seconds(
            lambda: answers(scene, Method.REFERENCE, image, first=i, label=label, budget=budget)
        )
        costs = {"seconds": seconds, "first_call_seconds": warm[0], "peak_memory_mib": peak_memory()}
        return {**_answered(plan, shown, users, found, first=i), **costs}

    rows = [
        journal.kept({**facts, "part": "reference", "image": i}, lambda i=i: one(i))
        for i in range(plan.reference_images)
    ]
    joined = {name: [entry for row in rows for entry in row[name]] for name in ("wrong", "named")}
    joined |= {name: float(np.mean([row[name] for row in rows])) for name in ("passes", "looks")}
    joined |= {name: max(row[name] for row in rows) for name in ("first_call_seconds", "peak_memory_mib")}
    seconds = sum(row["seconds"] for row in rows)
    return {**joined, "stages": {"reference": len(rows)}, "seconds": seconds}


def _seconds(call: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    found = jax.block_until_ready(call())
    return time.perf_counter() - began, found


def _methods(scene: Scene) -> list[str]:
    """With nothing that reads codes at once, refine would be multistart by another name."""
    there = readers(scene)
    methods = [*there, Method.REFINE] if there else []
    return [method.value for method in (*methods, Method.AUTO, Method.MULTISTART)]


def _check(plan: Plan) -> None:
    least = max(plan.multistart_images, plan.reference_images)
    if not 1 <= least <= plan.images <= plan.users or plan.reference_images < 1 or plan.warm_images < 1:
        raise ValueError(
            f"{plan}: expected some images of every kind, multistart and reference at most all of them, and "
            "as many users as images or more"
        )


def _show(scene: Scene, plan: Plan) -> Shown:
    """The images of the first users, and further ones of others."""
    manifest, clean = scene.opened.manifest, attack_of("nie2023", "none")
    count = max(plan.users, plan.images + plan.warm_images)
    distance, repeats = manifest.min_distance, manifest.repeats
    codes = draw_codes(scene.seed, count, bits=manifest.bits, min_distance=distance, repeats=repeats)
    some = codes[: plan.images + plan.warm_images]
    files = through_files(marked_images(scene.subject, some, seed=scene.seed), clean, seed=scene.seed)
    images = to_float(files)
    return Shown(codes[: plan.users], manifest.repeats, images[: plan.images], images[plan.images :])


def _registered(scene: Scene, shown: Shown, method: str) -> Registered:
    climbing = (Method(method), scene.subject, scene.decoder, Budget())
    return stage_by_stage(among(shown.book, repeats=shown.repeats), *climbing)


def _answered(plan: Plan, shown: Shown, users: Registered, found: Answer, *, first: int = 0) -> Numbers:
    stages = np.asarray(found.stage)
    makers = range(first, first + len(stages))
    verdicts = judge(found.estimate, users, alpha=plan.alpha)
    named = [
        "none" if it.user is None else "right" if it.user == maker else "wrong"
        for it, maker in zip(verdicts, makers, strict=True)
    ]
    return {
        "wrong": wrong_bits(found, shown.book[first : first + len(stages)]),
        "named": named,
        "passes": float(np.mean(found.passes)),
        "looks": float(np.mean(found.looks)),
        "stages": {stage.name.lower(): int((stages == stage).sum()) for stage in Stage if stage in stages},
    }


def _row(scene: Scene, plan: Plan, name: str, parts: Mapping[str, Numbers]) -> dict[str, Any]:
    """A method with its ratios to the search, and its accuracy on the images that the search was tried on."""
    it, usual, bits = parts[name], parts["reference"], scene.subject.bits
    each = it["seconds"] / len(it["wrong"])
    kept = ("passes", "looks", "stages", "first_call_seconds", "peak_memory_mib")
    return {
        "method": name,
        **accuracy_of(it["wrong"], bits=bits),
        "users": {word: it["named"].count(word) for word in ("right", "wrong", "none")},
        "seconds_per_image": each,
        "images_per_second": 1 / each,
        **{field: it[field] for field in kept},
        "fewer_passes": usual["passes"] / it["passes"] if it["passes"] else None,
        "faster": usual["seconds"] / len(usual["wrong"]) / each,
        "same_images": accuracy_of(it["wrong"][: plan.reference_images], bits=bits),
    }
