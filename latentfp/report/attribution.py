"""The bench of attribution on paper: accuracy and cost of every method, beside the paper's search."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from latentfp.report.markdown import made_with, number, percent_range, plain, table
from latentfp.report.parsing import parse
from latentfp.report.wording import count, duration

NAMES = {
    "encoder": "the generator's encoder",
    "decoder": "decoder",
    "refine": "a reading and a descent",
    "auto": "**auto** (default)",
    "multistart": "descents from several starts",
    "reference": "the paper's search",
}


class Accuracy(NamedTuple):
    """`all_bits` of `images` with every bit right; `interval` of that share."""

    images: int
    bit_accuracy: float
    all_bits: int
    interval: list[float]


class Method(NamedTuple):
    """One method. `users`: images by verdict (right, wrong, none); ratios are to the search, more is cheaper.

    `stages`: images by the last stage that they reached; `same_images`: on those of the search.
    """

    method: str
    images: int
    bit_accuracy: float
    all_bits: int
    interval: list[float]
    users: dict[str, int]
    stages: dict[str, int]
    passes: float
    looks: float
    seconds_per_image: float
    images_per_second: float
    first_call_seconds: float
    peak_memory_mib: float
    fewer_passes: float | None
    faster: float
    same_images: Accuracy


class Plan(NamedTuple):
    """Users registered, the limit of the p-value, and the budget of the search."""

    users: int
    alpha: float
    reference_starts: int
    reference_steps: int


class Bench(NamedTuple):
    """The record."""

    title: str
    command: str
    hardware: str
    sigma: float
    bits: int
    plan: Plan
    curvature_seconds: float
    methods: list[Method]


def write_attribution(folder: Path, result: dict[str, Any]) -> Path:
    """Write attribution.md into `folder`; returns its path. ValueError for a missing field of `Bench`."""
    bench: Bench = parse(Bench, result, "attribution")
    searched = bench.methods[-1].images
    parts = [
        _heading(bench),
        "## Accuracy",
        _accuracies(bench.methods),
        "## Cost",
        "A pass is an evaluation of the generator or a product with its Jacobian, a look a pass of the "
        "decoder's network or of the encoder. The first call, on other images, compiles; it is not part of "
        "the seconds, nor is the mean curvature of the generator, "
        f"{duration(bench.curvature_seconds)} a command.",
        _costs(bench.methods),
        *_stages(bench.methods),
        f"## On the {count(searched, 'image')} of the search",
        _same(bench.methods),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "attribution.md"
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return page


def _heading(bench: Bench) -> str:
    it = bench.plan
    return (
        f"# {plain(bench.title)}\n\n"
        f"Clean PNG files, σ {bench.sigma:g}, {bench.bits} bits, {count(it.users, 'user')}, "
        f"p ≤ {it.alpha:g}. The search has {count(it.reference_starts, 'start')} of "
        f"{count(it.reference_steps, 'step')}. "
        f"{plain(bench.hardware)}. Intervals are 95 %, exact binomial. {made_with(bench.command)}"
    )


def _columns(methods: Sequence[Method], **cells: Callable[[Method], str]) -> str:
    names = {"method": [NAMES.get(it.method, plain(it.method)) for it in methods]}
    columns = {title.replace("_", " "): [cell(it) for it in methods] for title, cell in cells.items()}
    return table({**names, **columns})


def _accuracies(methods: Sequence[Method]) -> str:
    return _columns(
        methods,
        images=lambda it: str(it.images),
        bits_right=lambda it: f"{100 * it.bit_accuracy:.2f} %",
        all_bits_right=lambda it: str(it.all_bits),
        share=lambda it: f"{100 * it.all_bits / it.images:.1f} % ({percent_range(it.interval)})",
        right_user=lambda it: str(it.users["right"]),
        wrong_user=lambda it: str(it.users["wrong"]),
        nobody=lambda it: str(it.users["none"]),
    )


def _costs(methods: Sequence[Method]) -> str:
    columns = {
        "method": [NAMES.get(it.method, plain(it.method)) for it in methods],
        "passes/image": [f"{it.passes:.4g}" if it.passes < 1e4 else f"{it.passes:.0f}" for it in methods],
        "looks/image": [f"{it.looks:.3g}" for it in methods],
        "s/image": [f"{it.seconds_per_image:.3g}" for it in methods],
        "images/s": [f"{it.images_per_second:.3g}" for it in methods],
        "fewer passes": [
            number(it.fewer_passes, ".4g") + " ×" * (it.fewer_passes is not None) for it in methods
        ],
        "faster": [f"{it.faster:.3g} ×" for it in methods],
        "first call (s)": [f"{it.first_call_seconds:.1f}" for it in methods],
        "peak memory (MiB)": [f"{it.peak_memory_mib:.0f}" for it in methods],
    }
    return table(columns)


def _stages(methods: Sequence[Method]) -> list[str]:
    return [
        "Auto ended at "
        + ", ".join(f"{stage} for {100 * n / it.images:.1f} %" for stage, n in it.stages.items())
        + " of the images."
        for it in methods
        if it.method == "auto"
    ]


def _same(methods: Sequence[Method]) -> str:
    return _columns(
        methods,
        bits_right=lambda it: f"{100 * it.same_images.bit_accuracy:.2f} %",
        all_bits_right=lambda it: f"{it.same_images.all_bits} of {it.same_images.images}",
        interval=lambda it: percent_range(it.same_images.interval),
    )
