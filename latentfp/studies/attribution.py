"""Speed and accuracy of every way of attribution against the paper's search, on the same images.

A deployment with `users` registered codes issues clean images, one a user; each is saved and read again. A
method first answers other images, so that its programs are compiled and loaded; that call is reported apart.
Then it answers the measured images, twice where that takes little, and the faster call counts: the first may
still compile for a number of images that did not occur before. The search comes last, image by image.

Costs: seconds of an image, passes (evaluations of the generator and products with its Jacobian or the
transpose), iterations (passes of the decoder's network).
"""

import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from latentfp.attribution.cascade import Budget, DecisionRule
from latentfp.attribution.estimate import Answer
from latentfp.attribution.ranking import among
from latentfp.attribution.verdict import Registered
from latentfp.choices import Method, Stage
from latentfp.fingerprint.codes import CodeBook, draw_codes
from latentfp.pixels import to_float
from latentfp.runtime.provenance import peak_memory
from latentfp.studies.context import (
    Context,
    answers,
    attack_of,
    attacked_files,
    identity,
    open_context,
    readers,
    rule_of,
    search_of,
    wrong_bits,
)
from latentfp.studies.experiment import Experiment, Numbers
from latentfp.studies.statistics import accuracy_of

WARM_STEPS = 2  # updates of the search that compile its program
CURVATURE = "mean curvature"
EXACT = "exact"  # auto, which reads every bit, also where a few of them name a user


class Settings(NamedTuple):
    """How many images each method answers, among how many users, and the budget of the search.

    `warm_images`: others, answered before anything is timed. A p-value up to `alpha` names a user.
    """

    deployment: str
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
    registered: Registered
    images: Float[np.ndarray, "n h w 3"]
    others: Float[np.ndarray, "m h w 3"]


def measure(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """A row for every method. `curvature_seconds`: of the mean curvature, which no row counts.

    ValueError: fewer users than images, or no images.
    """
    least = max(settings.multistart_images, settings.reference_images)
    some = min(settings.reference_images, settings.warm_images)
    if not 1 <= least <= settings.images <= settings.users or some < 1:
        raise ValueError(
            f"{settings}: expected some images of every kind, multistart and reference at most all of them, "
            "and as many users as images or more"
        )
    context = open_context(settings.deployment, seed=experiment.seed)
    shown = _show(context, settings)
    methods = _methods(context)
    search = _search(context, settings, shown)

    def measured(cell: dict[str, Any]) -> Numbers:
        if cell["part"] == CURVATURE:
            fresh = open_context(settings.deployment, seed=experiment.seed)
            return {"taken": _seconds(fresh.subject.curvature)[0]}
        if cell["image"] is not None:
            return search(cell["image"])
        return answered(context, settings, shown, cell["part"])

    belongs = {**identity(context), **settings._replace(deployment="")._asdict()}
    cells = [{"part": name, "image": None} for name in (*methods, CURVATURE)]  # on all of their images
    cells += [{"part": Method.REFERENCE.value, "image": i} for i in range(settings.reference_images)]
    numbers = experiment.measured(cells, measured, belongs=belongs, together=lambda _: "timed alone")
    parts = dict(zip(methods, numbers, strict=False))
    parts[Method.REFERENCE.value] = _joined(numbers[len(methods) + 1 :])
    return {
        "sigma": context.opened.manifest.sigma,
        "bits": context.subject.bits,
        "curvature_seconds": numbers[len(methods)]["taken"],
        "methods": [_row(context, settings, name, parts) for name in parts],
    }


def answered(context: Context, settings: Settings, shown: Shown, method: str) -> Numbers:
    """Wrong bits of each image, verdicts and costs of a method other than the search."""
    chosen, budget = (Method.AUTO, Budget().exact) if method == EXACT else (Method(method), Budget())
    rule = rule_of(context, chosen, shown.registered, alpha=settings.alpha)
    images = shown.images[: settings.multistart_images if chosen is Method.MULTISTART else None]
    if chosen not in (Method.ENCODER, Method.DECODER):
        context.subject.curvature()

    def call(some: Float[np.ndarray, "n h w 3"], first: int, label: str) -> tuple[float, Answer]:
        label = f"{method}, {label}"
        given = {"first": first, "label": label, "decided": rule.suffices, "budget": budget}
        return _seconds(lambda: answers(context, chosen, some, **given))

    warm = shown.others[: len(images)]
    first_call, _ = call(warm, len(shown.images), "other images")
    timed = [call(images, 0, f"call {i + 1} of 2") for i in range(2)]
    return {
        **_told(shown, rule, timed[-1][1]),
        "taken": min(seconds for seconds, _ in timed),
        "first_call_seconds": first_call,
        "peak_memory_mib": peak_memory(),
    }


def _search(context: Context, settings: Settings, shown: Shown) -> Callable[[int], Numbers]:
    """The same of the paper's search, for one image, after another one whose answer is not counted."""
    starts, steps = settings.reference_starts, settings.reference_steps
    budget = search_of(context.subject.generator, starts=starts, steps=steps)
    brief = budget._replace(search=budget.search._replace(steps=WARM_STEPS))
    method = Method.REFERENCE
    rule = rule_of(context, method, shown.registered, alpha=settings.alpha)

    @cache
    def warmed() -> float:
        other = shown.others[:1]
        return _seconds(lambda: answers(context, method, other, label="warming", budget=brief))[0]

    def one(i: int) -> Numbers:
        first_call, image = warmed(), shown.images[i : i + 1]
        given = {"label": f"reference, image {i + 1} of {settings.reference_images}", "first": i}
        seconds, found = _seconds(lambda: answers(context, method, image, budget=budget, **given))
        costs = {"taken": seconds, "first_call_seconds": first_call, "peak_memory_mib": peak_memory()}
        return {**_told(shown, rule, found, first=i), **costs}

    return one


def _joined(rows: list[Numbers]) -> Numbers:
    joined: Numbers = {name: [entry for row in rows for entry in row[name]] for name in ("wrong", "named")}
    joined |= {name: float(np.mean([row[name] for row in rows])) for name in ("passes", "iterations")}
    joined |= {name: max(row[name] for row in rows) for name in ("first_call_seconds", "peak_memory_mib")}
    return {**joined, "stages": {"reference": len(rows)}, "taken": sum(row["taken"] for row in rows)}


def _seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = jax.block_until_ready(call())
    return time.perf_counter() - began, found


def _methods(context: Context) -> list[str]:
    """With nothing that reads codes at once, refine and the exact auto would be multistart by other names."""
    there: list[str] = [method.value for method in readers(context)]
    descents = [Method.REFINE.value, EXACT] if there else []
    return [*there, *descents, Method.AUTO.value, Method.MULTISTART.value]


def _show(context: Context, settings: Settings) -> Shown:
    """The images of the first users, and further ones of others."""
    manifest, clean = context.opened.manifest, attack_of("nie2023", "none")
    shown = settings.images + settings.warm_images
    codes = draw_codes(
        context.seed,
        max(settings.users, shown),
        bits=manifest.bits,
        min_distance=manifest.min_distance,
        repeats=manifest.repeats,
    )
    images = to_float(attacked_files(context, codes[:shown], clean))
    book = codes[: settings.users]
    registered = among(book, repeats=manifest.repeats)
    return Shown(book, registered, images[: settings.images], images[settings.images :])


def _told(shown: Shown, rule: DecisionRule, found: Answer, *, first: int = 0) -> Numbers:
    stages = np.asarray(found.stage)
    makers = range(first, first + len(stages))
    verdicts = [it.verdict for it in rule.judge(found)]
    named = [
        "none" if it.user is None else "right" if it.user == maker else "wrong"
        for it, maker in zip(verdicts, makers, strict=True)
    ]
    return {
        "wrong": wrong_bits(found, shown.book[first : first + len(stages)]),
        "named": named,
        "passes": float(np.mean(found.passes)),
        "iterations": float(np.mean(found.iterations)),
        "stages": {stage.name.lower(): int((stages == stage).sum()) for stage in Stage if stage in stages},
    }


def _row(context: Context, settings: Settings, name: str, parts: Mapping[str, Numbers]) -> dict[str, Any]:
    """A method with its ratios to the search, more is cheaper, and its accuracy on the images of the search.

    `users`: images by verdict (right, wrong, none); `stages`: images by the last stage that they reached.
    """
    it, usual, bits = parts[name], parts[Method.REFERENCE.value], context.subject.bits
    each = it["taken"] / len(it["wrong"])
    return {
        "method": name,
        **accuracy_of(it["wrong"], bits=bits)._asdict(),
        "users": {word: it["named"].count(word) for word in ("right", "wrong", "none")},
        "stages": it["stages"],
        "passes": it["passes"],
        "iterations": it["iterations"],
        "seconds_per_image": each,
        "images_per_second": 1 / each,
        "first_call_seconds": it["first_call_seconds"],
        "peak_memory_mib": it["peak_memory_mib"],
        "fewer_passes": usual["passes"] / it["passes"] if it["passes"] else None,
        "faster": usual["taken"] / len(usual["wrong"]) / each,
        "same_images": accuracy_of(it["wrong"][: settings.reference_images], bits=bits),
    }
