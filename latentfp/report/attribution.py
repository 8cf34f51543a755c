"""The bench of attribution on paper: accuracy and cost of every method, beside the paper's search."""

from pathlib import Path
from typing import Any

from latentfp.report.markdown import (
    Cell,
    Row,
    count,
    duration,
    number,
    percent_range,
    plain,
    table,
    write_page,
)

NAMES = {
    "encoder": "the generator's encoder",
    "decoder": "decoder",
    "refine": "an estimate and a descent",
    "exact": "auto, every bit (`--exact`)",
    "auto": "**auto** (default)",
    "multistart": "descents from several starts",
    "reference": "the paper's search",
}


def write_attribution(folder: Path, result: dict[str, Any]) -> Path:
    """Write attribution.md, the result of studies.attribution.run; returns its path."""
    methods = result["methods"]
    return write_page(
        folder / "attribution.md",
        result,
        f"# {plain(result['title'])}",
        f"Clean PNG files, σ {result['sigma']:g}, {result['bits']} bits, {count(result['users'], 'user')}, "
        f"p ≤ {result['alpha']:g}. The search has {count(result['reference_starts'], 'start')} of "
        f"{count(result['reference_steps'], 'step')}. Intervals are 95 %, exact "
        "binomial.",
        "## Accuracy",
        table(methods, {"method": _name, **ACCURACY}),
        "## Cost",
        "A pass is an evaluation of the generator or a product with its Jacobian, an iteration a pass of the "
        "decoder's network or of the encoder. The first call, on other images, compiles; it is not part of "
        "the seconds, nor is the mean curvature of the generator, "
        f"{duration(result['curvature_seconds'])} a command.",
        table(methods, {"method": _name, **COST}),
        *(_stages(row) for row in methods if row["method"] == "auto"),
        f"## On the {count(methods[-1]['images'], 'image')} of the search",
        table(methods, {"method": _name, **SAME_IMAGES}),
    )


def _name(row: Row) -> str:
    return NAMES.get(row["method"], plain(row["method"]))


def _times(ratio: float | None, form: str) -> str:
    return number(ratio, form) + " ×" * (ratio is not None)


def _stages(row: Row) -> str:
    shares = (f"{stage} for {n / row['images']:.1%}" for stage, n in row["stages"].items())
    return f"Auto ended at {', '.join(shares)} of the images."


ACCURACY: dict[str, Cell] = {
    "images": "{images}",
    "bits right": "{bit_accuracy:.2%}",
    "all bits right": "{all_bits}",
    "share": lambda it: f"{it['all_bits'] / it['images']:.1%} ({percent_range(it['interval'])})",
    "right user": "{users[right]}",
    "wrong user": "{users[wrong]}",
    "nobody": "{users[none]}",
}
COST: dict[str, Cell] = {
    "passes/image": lambda it: f"{it['passes']:.4g}" if it["passes"] < 1e4 else f"{it['passes']:.0f}",
    "iterations/image": "{iterations:.3g}",
    "s/image": "{seconds_per_image:.3g}",
    "images/s": "{images_per_second:.3g}",
    "fewer passes": lambda it: _times(it["fewer_passes"], ".4g"),
    "faster": lambda it: _times(it["faster"], ".3g"),
    "first call (s)": "{first_call_seconds:.1f}",
    "peak memory (MiB)": "{peak_memory_mib:.0f}",
}
SAME_IMAGES: dict[str, Cell] = {
    "bits right": "{same_images[bit_accuracy]:.2%}",
    "all bits right": "{same_images[all_bits]} of {same_images[images]}",
    "interval": lambda it: percent_range(it["same_images"]["interval"]),
}
